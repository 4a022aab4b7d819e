// Sends the calls of medforall's REST API: token, deadline, idempotency key, and another try where that is safe.
// Runs in browsers and in Node 18 or newer; no dependency.

const RETRIED = new Set(["CONCURRENT_BOOKING", "IDEMPOTENCY_IN_PROGRESS", "OVERLOADED", "RATE_LIMIT_EXCEEDED", "UNAVAILABLE"]);

export class MedforallError extends Error {
  /** @param {number} status @param {{error?: string, message?: string, details?: object, requestId?: string}} body */
  constructor(status, body, retryAfterMs) {
    super(body.message || `HTTP ${status}`);
    this.name = "MedforallError";
    this.status = status;
    this.reason = body.error || "UNKNOWN";
    this.details = body.details || {};
    this.requestId = body.requestId || "";
    this.retryAfterMs = retryAfterMs;
  }
}

export class Transport {
  constructor({ baseUrl, token, fetch = globalThis.fetch, timeoutMs = 30_000, attempts = 3, firstWaitMs = 200, waitMaxMs = 10_000 }) {
    this.baseUrl = baseUrl.replace(/\/$/, "");
    this.token = typeof token === "function" ? token : () => token;
    this.fetch = fetch;
    this.timeoutMs = timeoutMs;
    this.attempts = attempts;
    this.firstWaitMs = firstWaitMs;
    this.waitMaxMs = waitMaxMs;
  }

  async call({ method, path, pathNames, queryNames, hasKey }, parameters = {}, body, options = {}) {
    const address = this.baseUrl + fill(path, pathNames, parameters) + query(queryNames, parameters);
    const headers = await this.headers(method, hasKey, body, options);
    for (let tried = 1; ; tried++) {
      const outcome = await this.once(method, address, headers, body, options.signal);
      if (!(outcome instanceof MedforallError)) return outcome;
      if (tried >= this.attempts || !RETRIED.has(outcome.reason) || (method !== "GET" && !headers["idempotency-key"])) throw outcome;
      // To come back earlier than the service asks is of no use: who waits no longer is told so.
      if (outcome.retryAfterMs > this.waitMaxMs) throw outcome;
      const doubled = this.firstWaitMs * 2 ** (tried - 1) * (0.5 + Math.random() / 2);
      await pause(Math.max(Math.min(doubled, this.waitMaxMs), outcome.retryAfterMs || 0), options.signal);
    }
  }

  async headers(method, hasKey, body, { ifMatch, ifNoneMatch, idempotencyKey }) {
    const headers = { accept: "application/json" };
    const token = await this.token();
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    if (ifMatch) headers["if-match"] = ifMatch;
    if (ifNoneMatch) headers["if-none-match"] = ifNoneMatch;
    // One key for all tries of one call: that is what makes a second try harmless.
    if (hasKey) headers["idempotency-key"] = idempotencyKey || globalThis.crypto.randomUUID();
    return headers;
  }

  async once(method, address, headers, body, signal) {
    const timeout = AbortSignal.timeout(this.timeoutMs);
    let answer;
    try {
      answer = await this.fetch(address, {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body),
        signal: signal && AbortSignal.any ? AbortSignal.any([signal, timeout]) : signal || timeout,
      });
    } catch (cause) {
      if (cause.name === "AbortError") throw cause;
      return new MedforallError(0, { error: "UNAVAILABLE", message: `No answer: ${cause.message}` });
    }
    const text = await answer.text();
    if (answer.status === 304) return { status: 304, etag: answer.headers.get("etag"), data: undefined, replayed: false };
    if (answer.ok) {
      return { status: answer.status, etag: answer.headers.get("etag"), data: JSON.parse(text), replayed: answer.headers.get("idempotent-replayed") === "true" };
    }
    return new MedforallError(answer.status, parsed(text), 1_000 * Number(answer.headers.get("retry-after") || 0));
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}

function fill(path, names, parameters) {
  return names.reduce((address, name) => {
    const value = parameters[name];
    if (value === undefined || value === null || value === "") throw new TypeError(`${name} is missing`);
    return address.replace(`{${name}}`, () => encodeURIComponent(value));
  }, path);
}

function query(names, parameters) {
  const given = names.filter((name) => parameters[name] !== undefined && parameters[name] !== null);
  const search = new URLSearchParams(given.map((name) => [name, [].concat(parameters[name]).join(",")]));
  return given.length ? `?${search}` : "";
}

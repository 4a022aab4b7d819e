// What is asked by REST: one clinic, one token, few requests at once.

export const FREE_BUSY = "/freeBusy";
const AT_ONCE = 4;
const ROWS_MAX = 2000;
const ANSWER_MS = 15000;

/** The token is not, or no longer, good for this. */
export class Refused extends Error {}

/** It did not work now and may work later. */
export class Failed extends Error {}

export function readClaims(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    if (claims.clinic_id) return claims;
  } catch {
    // Not a token: said below.
  }
  throw new Refused("This is not a token of a clinic.");
}

export class Api {
  constructor(token) {
    this.renew(token);
  }

  renew(token) {
    this.claims = readClaims(token);
    this.token = token;
    // How many more requests the server takes of this caller now.
    this.remaining = Infinity;
  }

  may(scope) {
    return this.claims.scopes?.includes(scope) ?? false;
  }

  /** Raises Refused on 401, Failed when the server is away or out of order, Error with its `details` on everything else. */
  async get(path, parameters = {}) {
    const address = new URL(`/v1/clinics/${this.claims.clinic_id}${path}`, location.href);
    for (const [name, value] of Object.entries(parameters)) for (const each of [value].flat()) address.searchParams.append(name, each);
    let answer;
    try {
      // What a message says has changed must not come from the browser's cache; and patients' names must not go there.
      answer = await fetch(address, { cache: "no-store", headers: { authorization: `Bearer ${this.token}` }, signal: AbortSignal.timeout(ANSWER_MS) });
    } catch {
      throw new Failed(navigator.onLine ? "The server does not answer." : "This device is offline.");
    }
    // Free and busy times are counted apart from the rest.
    if (path !== FREE_BUSY) this.remaining = Number(answer.headers.get("x-ratelimit-remaining") ?? Infinity);
    if (answer.ok) return answer.json();
    if (answer.status === 401) throw new Refused("The token was not accepted.");
    if (answer.status === 429 || answer.status >= 500) throw new Failed(`The server cannot answer at the moment (${answer.status}).`);
    const { details = {} } = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(`The server refused (${answer.status}).`), { details });
  }

  /** Every page of a list. */
  async list(path, name, parameters = {}) {
    const found = [];
    let pageToken = "";
    do {
      const page = await this.get(path, pageToken ? { ...parameters, pageToken } : parameters);
      found.push(...page[name]);
      pageToken = page.nextPageToken;
    } while (pageToken && found.length < ROWS_MAX);
    return found;
  }
}

/** Do `work` for each item, a few at once; one that fails leaves the others alone. Resolves to how many failed. */
export async function forEach(items, work) {
  const left = [...items];
  let failed = 0;
  const worker = async () => {
    while (left.length) await work(left.shift()).catch(() => { failed += 1; });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return failed;
}

export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// The realtime connection: authenticates, subscribes, and after every break goes on where it was.

const ENDED = new Set([4401, 4410]);
const REFUSED = new Map([[4403, "The token was revoked."], [4405, "This token may not follow the clinic."]]);
const TOO_MANY = 4409;
const CROWDED_MS = 60000;
const PING_MS = 5000;
// A ping unanswered for so long: nothing was heard for twelve seconds.
const ANSWER_MS = 7000;

export class Feed {
  /** `on` has: message(m), state(name, text), resync(), admitted(expiresAt), ended(reason), refused(reason). */
  constructor(token, on) {
    this.token = token;
    this.on = on;
    this.channels = [];
    this.position = "";
    this.failures = 0;
    this.socket = null;
    this.isLive = false;
    this.timer = 0;
    this.askedAt = 0;
    this.joined = () => {};
    this.ending = new AbortController();
    const { signal } = this.ending;
    addEventListener("online", () => this.connect(), { signal });
    addEventListener("offline", () => this.lose("offline", "Offline"), { signal });
    document.addEventListener("visibilitychange", () => this.look(), { signal });
    this.pulse = setInterval(() => this.beat(), PING_MS);
    this.watch = setInterval(() => this.look(), 1000);
  }

  /** Follow these channels from now on; resolves when they are live. */
  follow(channels) {
    const left = this.channels.filter((channel) => !channels.includes(channel));
    this.channels = channels;
    const joined = new Promise((resolve) => { this.joined = resolve; });
    if (this.isLive) {
      this.ask({ type: "subscribe", channels });
      if (left.length) this.ask({ type: "unsubscribe", channels: left });
    } else {
      this.position = "";
      this.failures = 0;
      this.drop();
      this.connect();
    }
    return joined;
  }

  /** Go on with another token, on the open connection when there is one. */
  renew(token) {
    this.token = token;
    if (this.isLive) this.ask({ type: "authenticate", token, id: "renewal" });
    else {
      this.drop();
      this.connect();
    }
  }

  end() {
    this.channels = [];
    this.ending.abort();
    clearInterval(this.pulse);
    clearInterval(this.watch);
    clearTimeout(this.timer);
    this.drop();
  }

  connect() {
    clearTimeout(this.timer);
    if (this.socket || !this.channels.length || this.ending.signal.aborted) return;
    if (!navigator.onLine) return this.on.state("offline", "Offline");
    this.on.state(this.position ? "resuming" : "waiting", this.position ? "Resuming…" : "Connecting…");
    const address = new URL("/v1/realtime/ws", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = this.socket = new WebSocket(address);
    this.askedAt = Date.now();
    socket.onopen = () => { if (socket === this.socket) this.greet(); };
    socket.onmessage = (event) => { if (socket === this.socket) this.take(JSON.parse(event.data)); };
    socket.onclose = (event) => { if (socket === this.socket) this.closed(event); };
  }

  greet() {
    const subscribe = { type: "subscribe", channels: this.channels };
    if (this.position) subscribe.resumeFrom = this.position;
    this.ask({ type: "authenticate", token: this.token });
    this.ask(subscribe);
  }

  ask(message) {
    this.socket.send(JSON.stringify(message));
    this.askedAt ||= Date.now();
  }

  take(message) {
    this.askedAt = 0;
    this.position = message.metadata?.sequence || this.position;
    if (message.type === "authenticated") this.admitted(message.payload);
    else if (message.type === "subscribed") this.live();
    else if (message.type === "resync") this.on.resync();
    else if (message.type === "error") this.fault(message.payload, message.id);
    else if (message.payload && message.metadata?.eventId) this.on.message(message);
  }

  admitted({ expiresAt, lostChannels }) {
    this.on.admitted(expiresAt);
    if (!this.isLive) this.askedAt ||= Date.now();
    else if (lostChannels?.length) this.lose("waiting", "Connecting…", 0);
  }

  live() {
    this.failures = 0;
    this.isLive = true;
    this.on.state("live", "Live");
    this.joined();
  }

  fault({ error, message, inReplyTo }, id) {
    if (id === "renewal") this.on.ended(message);
    else if (inReplyTo !== "subscribe") return;
    else if (error === "UNAVAILABLE") this.lose("waiting");
    else if (this.position) {
      // The place to go on from is not understood any more: begin anew.
      this.position = "";
      this.on.resync();
      this.lose("waiting");
    } else this.on.refused(message);
  }

  closed(event) {
    if (REFUSED.has(event.code)) this.on.refused(REFUSED.get(event.code));
    else if (ENDED.has(event.code)) {
      this.drop();
      this.on.state("ended", "Not live");
      this.on.ended(event.code === 4410 ? "The token has ended." : "The token was not accepted.");
    } else if (event.code === TOO_MANY) this.lose("waiting", "Too many of your connections are open", CROWDED_MS);
    else this.lose("waiting");
  }

  /** Let go of the connection at once, whatever it still thinks of itself, and try again. */
  lose(state, text = "", after) {
    if (!this.channels.length) return;
    this.drop();
    if (state === "offline") {
      clearTimeout(this.timer);
      return this.on.state(state, text);
    }
    this.failures += 1;
    // Everybody is cut off at once: jitter keeps everybody from coming back at once.
    const wait = after ?? Math.min(8000, 400 * 2 ** Math.min(this.failures, 5)) * (0.5 + Math.random() / 2);
    this.on.state(state, text || `Reconnecting in ${Math.max(1, Math.round(wait / 1000))} s`);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  beat() {
    if (this.isLive && !this.askedAt) this.ask({ type: "ping" });
  }

  look() {
    if (this.socket && this.askedAt && Date.now() - this.askedAt > ANSWER_MS) this.lose("waiting");
  }

  drop() {
    const socket = this.socket;
    this.socket = null;
    this.isLive = false;
    this.askedAt = 0;
    socket?.close();
  }
}

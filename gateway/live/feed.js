// The realtime connection: authenticates, subscribes, and after every break goes on where it was.

const FATAL = new Set([4401, 4403, 4410]);
const PING_MS = 20000;
const SILENCE_MS = 45000;

export class Feed {
  /** `on` has: message(m), state(name, text), resync(), refused(reason). */
  constructor(token, on) {
    this.token = token;
    this.on = on;
    this.channels = [];
    this.position = "";
    this.failures = 0;
    this.socket = null;
    this.timer = 0;
    this.heardAt = 0;
    addEventListener("online", () => this.connect());
    setInterval(() => this.ping(), PING_MS);
  }

  /** Follow these channels from now on. */
  follow(channels) {
    this.channels = channels;
    this.position = "";
    this.failures = 0;
    this.drop();
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    if (this.socket || !this.channels.length) return;
    this.on.state(this.position ? "resuming" : "waiting", this.position ? "Resuming…" : "Connecting…");
    const address = new URL("/v1/realtime/ws", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = this.socket = new WebSocket(address);
    socket.onopen = () => this.greet(socket);
    socket.onmessage = (event) => { if (socket === this.socket) this.take(JSON.parse(event.data)); };
    socket.onclose = (event) => { if (socket === this.socket) this.closed(event); };
  }

  greet(socket) {
    const subscribe = { type: "subscribe", channels: this.channels };
    if (this.position) subscribe.resumeFrom = this.position;
    socket.send(JSON.stringify({ type: "authenticate", token: this.token }));
    socket.send(JSON.stringify(subscribe));
    this.heardAt = Date.now();
  }

  take(message) {
    this.heardAt = Date.now();
    this.position = message.metadata?.sequence || this.position;
    if (message.type === "subscribed") {
      this.failures = 0;
      this.on.state("live", "Live");
    } else if (message.type === "resync") {
      this.on.resync();
    } else if (message.type === "error") {
      if (message.payload.error === "UNAVAILABLE") this.socket.close();
      else this.on.refused(message.payload.message);
    } else if (message.payload && message.metadata?.eventId) {
      this.on.message(message);
    }
  }

  closed(event) {
    this.socket = null;
    if (FATAL.has(event.code)) {
      this.channels = [];
      this.on.refused(event.reason || "The token was not accepted.");
      return;
    }
    this.failures += 1;
    // Everybody is cut off at once: jitter keeps everybody from coming back at once.
    const wait = Math.min(8000, 400 * 2 ** Math.min(this.failures, 5)) * (0.5 + Math.random() / 2);
    this.on.state("waiting", `Reconnecting in ${Math.max(1, Math.round(wait / 1000))} s`);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  ping() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (Date.now() - this.heardAt > SILENCE_MS) this.socket.close();
    else this.socket.send('{"type":"ping"}');
  }

  drop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }
}

// medforall over gRPC from Node.js: the contracts are loaded as they are, no code is generated.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const CONTRACTS = ["booking/v1/booking", "availability/v1/availability", "directory/v1/directory", "realtime/v1/realtime"];
const DEADLINE_MS = 10_000;

/**
 * The packages of the contracts: `loadContracts().booking.v1.BookingService` is a client class.
 * Fields keep the contract's names, 64-bit integers are strings, enum values are their names.
 */
export function loadContracts(protos = `${ROOT}protos`, thirdParty = `${ROOT}third_party/protos`) {
  const definition = loadSync(CONTRACTS.map((name) => `medforall/${name}.proto`), {
    includeDirs: [protos, thirdParty], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true,
  });
  return grpc.loadPackageDefinition(definition).medforall;
}

/** Credentials of a channel; `tls` names PEM files `{ ca, certificate, key }` when the services speak mutual TLS. */
export function credentials(tls) {
  if (!tls) return grpc.credentials.createInsecure();
  return grpc.credentials.createSsl(readFileSync(tls.ca), readFileSync(tls.key), readFileSync(tls.certificate));
}

/** A caller of one service: `await call("SearchSlots", request)`; rejects with a `ServiceError` that has `reason`. */
export function caller(Service, target, token, tls) {
  const client = new Service(target, credentials(tls));
  const call = (method, request) => new Promise((resolve, reject) => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${token}`);
    client[method](request, metadata, { deadline: Date.now() + DEADLINE_MS }, (error, reply) => {
      if (error) reject(Object.assign(error, { reason: reasonOf(error) }));
      else resolve(reply);
    });
  });
  return Object.assign(call, { close: () => client.close() });
}

// A refusal's details come as a trailer: google.rpc.Status with, among others, a google.rpc.ErrorInfo.
const RPC = loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"], { includeDirs: [`${ROOT}third_party/protos`] });

function reasonOf(error) {
  const [trailer] = error.metadata ? error.metadata.get("grpc-status-details-bin") : [];
  const { details = [] } = trailer ? RPC["google.rpc.Status"].deserialize(trailer) : {};
  const info = details.find((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"));
  return info ? RPC["google.rpc.ErrorInfo"].deserialize(info.value).reason : "";
}

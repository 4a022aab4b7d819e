// Shows /openapi.json and lets a reader try its calls. No library, no build step, nothing from elsewhere.
"use strict";

const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};
const byId = (id) => document.getElementById(id);
let contract;

// Values of path parameters, kept from one operation to the next.
const remembered = new Map();

// The little Markdown that contracts are written in: paragraphs, lists, `code`.
const spans = (text) => text.split("`").map((part, at) => at % 2 ? make("code", { textContent: part }) : part);

function prose(text) {
  const blocks = [];
  for (const line of (text || "").split("\n")) {
    const last = blocks[blocks.length - 1];
    if (line.startsWith("- ")) {
      if (last && last.items) last.items.push(line.slice(2));
      else blocks.push({ items: [line.slice(2)] });
    } else if (last && last.items && line.startsWith("  ")) last.items[last.items.length - 1] += ` ${line.trim()}`;
    else if (!line.trim()) blocks.push({ words: "" });
    else if (last && last.words !== undefined) last.words += ` ${line.trim()}`;
    else blocks.push({ words: line.trim() });
  }
  return make("div", { className: "text" }, ...blocks.filter((block) => block.items || block.words.trim()).map((block) => block.items
    ? make("ul", {}, ...block.items.map((item) => make("li", {}, ...spans(item))))
    : make("p", {}, ...spans(block.words))));
}

const resolve = (node) => node && node.$ref
  ? { ...node.$ref.slice(2).split("/").reduce((at, part) => at[part], contract), ...(node.description ? { description: node.description } : {}) }
  : node || {};

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return typeOf(schema.anyOf[0]);
  const kinds = [].concat(schema.type || "any").filter((kind) => kind !== "null");
  if (kinds[0] === "array") return `list of ${typeOf(schema.items || {})}`;
  return schema.format || kinds.join(" or ");
}

function limitsOf(schema) {
  const shown = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"];
  const limits = shown.filter((name) => schema[name] !== undefined).map((name) => `${name} ${schema[name]}`);
  if (schema.enum) limits.unshift(schema.enum.filter((value) => value !== null).join(" | "));
  return limits.join(", ");
}

function fieldRows(schema) {
  const whole = resolve(schema.anyOf ? schema.anyOf[0] : schema);
  const required = new Set(whole.required || []);
  return Object.entries(whole.properties || {}).map(([name, field]) => make("tr", {},
    make("td", {}, make("code", { textContent: name }), required.has(name) ? make("span", { className: "must", textContent: " *" }) : ""),
    make("td", { textContent: typeOf(field) }),
    make("td", {}, prose(field.description), make("div", { className: "none", textContent: limitsOf(field) }))));
}

function schemaTable(schema, seen = []) {
  const box = make("div");
  const rows = fieldRows(schema);
  if (rows.length) box.append(make("table", {}, make("tbody", {}, ...rows)));
  for (const [name, inner] of nested(schema)) {
    if (seen.includes(name)) continue;
    const part = make("details", {}, make("summary", {}, make("code", { textContent: name })));
    part.addEventListener("toggle", () => part.children.length === 1 && part.append(make("div", {}, schemaTable(inner, [...seen, name]))));
    box.append(part);
  }
  return box;
}

function nested(schema) {
  const whole = resolve(schema.anyOf ? schema.anyOf[0] : schema);
  const found = new Map();
  for (const field of Object.values(whole.properties || {})) {
    const inner = [field, field.items, field.anyOf && field.anyOf[0]].find((one) => one && one.$ref);
    if (inner) found.set(typeOf(inner), inner);
  }
  return found;
}

// A body to start from: required fields only, each with a value of its type.
function exampleOf(schema, depth = 0) {
  const whole = resolve(schema);
  if (whole.anyOf) return exampleOf(whole.anyOf[0], depth);
  if (whole.enum) return whole.enum[0];
  const kind = [].concat(whole.type)[0];
  if (kind === "object") {
    const required = whole.required || [];
    return depth > 4 ? {} : Object.fromEntries(required.filter((name) => whole.properties[name]).map((name) => [name, exampleOf(whole.properties[name], depth + 1)]));
  }
  if (kind === "array") return [exampleOf(whole.items || {}, depth + 1)];
  return { integer: whole.minimum || 0, number: 0, boolean: false }[kind] ?? (whole.format === "uuid" ? "00000000-0000-0000-0000-000000000000" : "");
}

function parameterRow(parameter, inputs) {
  const input = make("input", { name: parameter.name, ariaLabel: parameter.name, spellcheck: false });
  if (parameter.in === "path") {
    input.value = remembered.get(parameter.name) || "";
    input.addEventListener("change", () => remembered.set(parameter.name, input.value.trim()));
  }
  inputs.push([parameter, input]);
  return make("tr", {},
    make("td", {}, make("code", { textContent: parameter.name }), parameter.required ? make("span", { className: "must", textContent: " *" }) : "", make("div", { className: "none", textContent: parameter.in })),
    make("td", {}, prose(parameter.description), make("div", { className: "none", textContent: [typeOf(parameter.schema), limitsOf(parameter.schema)].filter(Boolean).join(", ") })),
    make("td", {}, input));
}

function addressOf(path, inputs) {
  const query = new URLSearchParams();
  let address = path;
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    if (parameter.in === "query" && input.value) query.set(parameter.name, input.value);
  }
  return query.size ? `${address}?${query}` : address;
}

async function send(method, path, inputs, body, output) {
  const headers = {};
  const token = byId("token").value.trim();
  if (token) headers.authorization = `Bearer ${token.replace(/^Bearer /i, "")}`;
  for (const [parameter, input] of inputs) if (parameter.in === "header" && input.value) headers[parameter.name] = input.value;
  if (body) headers["content-type"] = "application/json";
  output.textContent = "…";
  try {
    const answer = await fetch(addressOf(path, inputs), { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
    output.textContent = `${answer.status} ${answer.statusText}\n${[...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n${shown}`;
  } catch (error) {
    output.textContent = `No answer: ${error.message}`;
  }
}

function operationBody(method, path, operation) {
  const inputs = [];
  const box = make("div", {}, prose(operation.description));
  if (operation.parameters.length) box.append(make("table", {}, make("tbody", {}, ...operation.parameters.map((parameter) => parameterRow(parameter, inputs)))));
  const schema = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const body = schema && make("textarea", { value: JSON.stringify(exampleOf(schema), null, 2), ariaLabel: "Request body", spellcheck: false });
  if (schema) box.append(make("details", {}, make("summary", { textContent: "Body" }), make("div", {}, schemaTable(schema))), body);
  const good = Object.entries(operation.responses).find(([status]) => status.startsWith("2"));
  const answer = good && good[1].content["application/json"]?.schema;
  if (answer) box.append(make("details", {}, make("summary", { textContent: `Answer ${good[0]}` }), make("div", {}, schemaTable(answer))));
  const output = make("pre", { hidden: true, tabIndex: 0 });
  const button = make("button", { type: "button", textContent: "Send" });
  button.addEventListener("click", () => { output.hidden = false; send(method, path, inputs, body, output); });
  box.append(make("p", {}, button), output);
  return box;
}

function operationBox(method, path, operation) {
  const box = make("details", { id: operation.operationId }, make("summary", {},
    make("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
    make("span", { className: "path", textContent: path }),
    make("span", { className: "what" }, ...spans(operation.summary || ""))));
  box.dataset.text = `${method} ${path} ${operation.operationId} ${operation.summary}`.toLowerCase();
  box.addEventListener("toggle", () => box.children.length === 1 && box.append(operationBody(method, path, operation)));
  return box;
}

function show() {
  byId("version").textContent = contract.info.version;
  const main = byId("operations");
  main.replaceChildren(prose(contract.info.description), make("p", { className: "parts" }, ...contract.tags.map((tag) => make("a", { href: `#${tag.name}`, textContent: tag.name }))));
  for (const tag of contract.tags) {
    const group = make("section", { id: tag.name }, make("h2", { textContent: tag.name }), prose(tag.description));
    for (const [path, methods] of Object.entries(contract.paths))
      for (const [method, operation] of Object.entries(methods))
        if (operation.tags.includes(tag.name)) group.append(operationBox(method, path, operation));
    main.append(group);
  }
}

byId("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const box of document.querySelectorAll("details[data-text]")) box.hidden = !words.every((word) => box.dataset.text.includes(word));
  for (const group of document.querySelectorAll("section")) group.hidden = !group.querySelector("details[data-text]:not([hidden])");
});

fetch("/openapi.json").then((answer) => answer.json()).then((document_) => { contract = document_; show(); })
  .catch((error) => { byId("operations").textContent = `The contract cannot be read: ${error.message}`; });

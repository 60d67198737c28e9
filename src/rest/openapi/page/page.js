"use strict";
// Opens what an address names, finds operations, and sends what is filled in.

function open_named() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.tagName === "DETAILS") {
    named.open = true;
    named.scrollIntoView();
    named.querySelector("summary").focus({ preventScroll: true });
  }
}

function find(words) {
  const wanted = words.toLowerCase();
  const fits = (text) => text.toLowerCase().includes(wanted);
  for (const list of document.querySelectorAll("nav ul")) {
    for (const item of list.children) {
      const link = item.firstElementChild;
      const path = document.getElementById(link.hash.slice(1)).querySelector(".path").textContent;
      item.hidden = !(fits(link.textContent) || fits(link.title) || fits(path));
    }
    const none = [...list.children].every((item) => item.hidden);
    list.hidden = none;
    list.previousElementSibling.hidden = none;
  }
}

/** The request that a form describes: address and options of fetch. */
function request(form) {
  const filled = (place) => [...form.querySelectorAll(`[data-place=${place}]`)].filter((input) => input.value !== "");
  let path = form.dataset.path;
  for (const input of filled("path")) path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
  const query = new URLSearchParams(filled("query").map((input) => [input.name, input.value.trim()])).toString();
  const headers = new Headers(filled("header").map((input) => [input.name, input.value.trim()]));
  const token = document.getElementById("token").value.trim();
  if (token && form.dataset.withToken === "yes") headers.set("Authorization", `Bearer ${token}`);
  const options = { method: form.dataset.verb, headers, cache: "no-store", credentials: "omit" };
  const fields = filled("form");
  const body = form.querySelector("[data-place=body]");
  if (fields.length) options.body = new URLSearchParams(fields.map((input) => [input.name, input.value]));
  if (body) {
    headers.set("Content-Type", form.dataset.mediaType);
    options.body = body.type === "file" ? body.files[0] : body.value;
  }
  return [document.body.dataset.root + path + (query && `?${query}`), options];
}

function shown(name, text, tag = "pre") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  if (tag === "pre") element.tabIndex = 0;
  return element;
}

async function send(form) {
  const output = form.querySelector("output");
  const button = form.querySelector("button");
  button.disabled = true;
  output.replaceChildren();
  try {
    const [address, options] = request(form);
    const answer = await fetch(address, options);
    let body = await answer.text();
    try {
      const value = JSON.parse(body);
      body = JSON.stringify(value, null, 2);
      if (value.access_token) document.getElementById("token").value = value.access_token;
    } catch { /* not JSON: shown as it is */ }
    const status = shown(`status ${answer.status < 400 ? "good" : "bad"}`, `${answer.status} ${answer.statusText}`, "p");
    const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    output.append(status, shown("address", `${options.method} ${address}`, "p"), shown("headers", headers), shown("body", body || "(no body)"));
  } catch (error) {
    output.append(shown("status bad", `The request could not be sent: ${error.message}`, "p"));
  }
  button.disabled = false;
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  send(event.target);
});
document.getElementById("find").addEventListener("input", (event) => find(event.target.value));
addEventListener("hashchange", open_named);
open_named();

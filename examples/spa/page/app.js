// The cookie is out of reach of this script, and does not need it: the browser
// sends it along. What the script holds is the CSRF token, in memory alone.
let csrf = "";

const $ = (id) => document.getElementById(id);

async function call(method, path, body) {
  const res = await fetch(path, {
    method,
    headers: { "X-CSRF-Token": csrf, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const answer = await res.json();
  if (answer.csrf) csrf = answer.csrf;
  if (!res.ok) throw Object.assign(new Error(answer.error), { status: res.status });
  return answer;
}

// change sends what must not happen twice. A token is old after a login or logout
// in another tab: then nothing was done, so that it can be sent once more.
async function change(path, body) {
  try {
    return await call("POST", path, body);
  } catch (err) {
    if (err.status !== 403) throw err;
    await call("GET", "/api/session");
    return call("POST", path, body);
  }
}

async function show(session) {
  $("login").hidden = session.user !== "";
  $("inside").hidden = session.user === "";
  $("user").textContent = session.user;
  $("todos").replaceChildren();
  if (session.user) list(await call("GET", "/api/todos"));
}

function list({ todos }) {
  $("todos").replaceChildren(...(todos ?? []).map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

// act runs what a click or a form wants, and tells of what went wrong.
async function act(what) {
  $("message").textContent = "";
  try {
    await what();
  } catch (err) {
    $("message").textContent = err.status ? err.message : "The server cannot be reached.";
    // The session has ended: on another device, or by time.
    if ((err.status === 401 || err.status === 409) && !$("inside").hidden) await show(await call("GET", "/api/session"));
  }
}

function onSubmit(id, send) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    act(async () => {
      await send(Object.fromEntries(new FormData(form)));
      form.reset();
    });
  });
}

onSubmit("login", async (data) => show(await change("/api/login", data)));
onSubmit("add", async (data) => list(await change("/api/todos", data)));
$("logout").addEventListener("click", () => act(async () => show(await change("/api/logout"))));
act(async () => show(await call("GET", "/api/session")));

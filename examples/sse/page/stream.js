const time = document.getElementById("time");
const message = document.getElementById("message");

function ended() {
  time.textContent = "no longer sent";
  message.textContent = "This device was logged out. Load the page again to log in.";
}

if (time) {
  const stream = new EventSource("/events");
  stream.addEventListener("time", (event) => { time.textContent = event.data; });
  // Without close() the browser would connect again, and be refused.
  stream.addEventListener("ended", () => { stream.close(); ended(); });
  // A connection that broke is made again by the browser. One that was refused is
  // closed: the session had ended before the stream could tell.
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) ended(); });
}

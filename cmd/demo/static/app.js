"use strict";

// Without this script every page works; with it, what changes is seen to change.

const every = 2000; // ms between two questions to the server

// remaining says a number of seconds as a clock would: "6 days 23:59:58".
function remaining(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(":");
  return days > 0 ? `${days} ${days === 1 ? "day" : "days"} ${clock}` : clock;
}

// countDown lets the lifetimes on the page run down. They are counted from the
// load of the page: the clocks of browser and server differ.
function countDown() {
  const elements = [...document.querySelectorAll("[data-seconds]")];
  const ends = elements.map((e) => performance.now() + 1000 * Number(e.dataset.seconds));
  const tick = () => elements.forEach((e, i) => {
    e.textContent = remaining(Math.max(0, Math.round((ends[i] - performance.now()) / 1000)));
  });
  if (elements.length > 0) {
    tick();
    setInterval(tick, 1000);
  }
}

// watchOutage shows and hides the banner. Its place is a live region, so that
// screen readers tell of it.
async function watchOutage() {
  const banner = document.getElementById("outage");
  try {
    const answer = await fetch("/outage");
    const { down } = await answer.json();
    if (down && banner.childElementCount === 0) {
      banner.append(document.getElementById("outage-text").content.cloneNode(true));
    } else if (!down && banner.childElementCount > 0) {
      banner.replaceChildren();
    }
  } catch {
    // The program itself is away; the next page will say so.
  }
}

// refresh replaces what changes on the page.
async function refresh() {
  const live = document.querySelector("[data-refresh]");
  if (live === null) {
    return;
  }
  try {
    const answer = await fetch(live.dataset.refresh);
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      live.replaceChildren(...page.body.childNodes);
    }
  } catch {
    // as above
  }
}

countDown();
setInterval(() => {
  if (!document.hidden) {
    watchOutage();
    refresh();
  }
}, every);

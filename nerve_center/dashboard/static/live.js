// What every page does by itself: times in the viewer's zone, fresh data every 10 s, buttons that copy.
// A page marks what may be replaced with `data-live` and an id; the same address is fetched again and those parts are
// taken over. While the page is hidden nothing is asked; while the center is away the page says since when.
"use strict";

(() => {
  const EVERY_MS = 10000;
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const today = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const parser = new DOMParser();
  let awaySince = null;
  let asking = false;

  function localTimes(root) {
    const day = new Date().toDateString();
    for (const element of root.querySelectorAll("time[datetime]")) {
      const time = new Date(element.dateTime);
      if (Number.isNaN(time.getTime())) continue;
      element.title = element.dateTime;
      element.textContent = (time.toDateString() === day ? today : zone).format(time);
    }
  }

  function say(text) {
    const place = document.getElementById("away");
    if (!place) return;
    place.hidden = !text;
    if (place.textContent !== text) place.textContent = text;
  }

  // Who goes through a list by the Tab key stays where they are when it is taken over.
  function counterpart(focused, old, part) {
    if (focused.id) return part.querySelector("#" + CSS.escape(focused.id));
    const name = (element) => element.getAttribute("href") + " " + element.textContent.trim();
    const inOld = [...old.querySelectorAll(focused.localName)];
    const inNew = [...part.querySelectorAll(focused.localName)];
    const alike = (elements) => elements.filter((element) => name(element) === name(focused));
    return alike(inNew)[alike(inOld).indexOf(focused)] || inNew[Math.min(inOld.indexOf(focused), inNew.length - 1)];
  }

  function replace(fresh) {
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = document.getElementById(part.id);
      if (!old) continue;
      localTimes(part);
      if (old.innerHTML === part.innerHTML) continue;
      const focused = old.contains(document.activeElement) ? document.activeElement : null;
      if (focused && focused.matches("input, select, textarea")) continue;
      const again = focused && counterpart(focused, old, part);
      old.replaceWith(document.adoptNode(part));
      if (again) again.focus({ preventScroll: true });
    }
    document.dispatchEvent(new Event("dio:fresh"));
  }

  async function refresh() {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin", redirect: "manual", signal: AbortSignal.timeout(30000) });
      if (answer.type === "opaqueredirect") {  // logged out: the login page asks for what comes next
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error("HTTP " + answer.status);
      replace(parser.parseFromString(await answer.text(), "text/html"));
      awaySince = null;
      say("");
    } catch (error) {
      awaySince = awaySince || new Date();
      say("The nerve center does not answer since " + today.format(awaySince) + ". This page shows what was known then and goes on by itself.");
    } finally {
      asking = false;
    }
  }

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {  // without TLS browsers keep the clipboard closed: select it, so that the keyboard copies it
      const range = document.createRange();
      range.selectNodeContents(document.getElementById(button.dataset.copy));
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      if (!document.execCommand("copy")) {
        button.textContent = "Press Ctrl+C";
        return;
      }
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  // Parts that cost too much for the page itself come after it.
  async function load(part) {
    try {
      const answer = await fetch(part.dataset.load, { cache: "no-store", redirect: "error" });
      if (answer.ok) part.innerHTML = await answer.text();
      localTimes(part);
    } catch (error) { /* the link in it stays */ }
  }

  localTimes(document);
  document.addEventListener("dio:times", (event) => localTimes(event.detail));
  document.querySelectorAll("[data-load]").forEach(load);
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  if (document.querySelector("[data-live]")) {
    setInterval(refresh, EVERY_MS);
    document.addEventListener("visibilitychange", refresh);
    window.addEventListener("online", refresh);
  }
})();

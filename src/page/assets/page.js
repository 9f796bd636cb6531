// Every page works without this script; what needs it is hidden until it runs.
const byId = (id) => document.getElementById(id);
const all = (selector) => document.querySelectorAll(selector);

// Times are in UTC in the page: here "3 hours ago", and the local time.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const language = /^en\b/.test(navigator.language) ? navigator.language : "en-GB";
const DAY = { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" };
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
for (const time of all("time")) {
  const date = new Date(time.dateTime);
  if (isNaN(date)) continue;
  const seconds = (date - Date.now()) / 1000;
  const unit = UNITS.find(([, size]) => Math.abs(seconds) >= size);
  const small = document.createElement("small");
  const otherYear = date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  small.textContent = date.toLocaleString(language, { ...DAY, ...otherYear });
  time.replaceChildren(unit ? relative.format(Math.round(seconds / unit[1]), unit[0]) : "just now", " ", small);
}

for (const button of navigator.clipboard ? all("[data-copy]") : []) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const [label, status] = [button.firstChild, byId("copied")];
    const say = (word, sentence) => { label.data = word; status.textContent = sentence; };
    try {
      await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
      say("Copied", "Copied.");
    } catch {
      say("Copy", "Select the text and copy it by hand.");
    }
    setTimeout(say, 4000, "Copy", "");
  });
}

const pin = byId("pin");
if (pin) {
  const button = byId("show-pin");
  const show = (visible) => {
    pin.type = visible ? "text" : "password";
    button.firstChild.data = visible ? "Hide" : "Show";
  };
  button.hidden = false;
  button.addEventListener("click", () => show(pin.type === "password"));
  // Browsers remember what was typed into a text field.
  pin.form.addEventListener("submit", () => show(false));
}

// A click that began in another window ("double-clickjacking") must not authorize: the button waits until it could be seen.
const authorize = document.querySelector("button[value=authorize]");
if (authorize) {
  let timer;
  const wait = () => {
    authorize.ariaDisabled = "true";
    clearTimeout(timer);
    timer = setTimeout(() => { authorize.ariaDisabled = null; }, 500);
  };
  addEventListener("focus", wait);
  addEventListener("pageshow", wait);
  document.addEventListener("visibilitychange", wait);
  // Without pointer, as with the Enter key, there is no such click.
  authorize.addEventListener("click", (event) => { if (event.detail && authorize.ariaDisabled) event.preventDefault(); });
}

const find = byId("find");
if (find) {
  const rows = [...all(".tools li")];
  find.parentElement.hidden = false;
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    for (const group of all(".tools")) group.hidden = !group.querySelector("li:not([hidden])");
  });
  // Selects among the tools that are found. Without script the server does it, for all tools.
  for (const button of all("button[name=select]")) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      for (const box of all(".tools li:not([hidden]) input:enabled")) {
        box.checked = button.value === "all" || (button.value === "reading" && "reads" in box.dataset);
      }
    });
  }
}

const wait = byId("wait");
if (wait) {
  const end = Date.now() + wait.dataset.seconds * 1000;
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    const clock = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    wait.textContent = left ? `You can try again in ${clock}.` : "You can try again now.";
    if (left) setTimeout(tick, 1000);
  };
  wait.hidden = false;
  tick();
}

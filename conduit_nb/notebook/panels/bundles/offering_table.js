// src/shared/dom.ts
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) {
      made.setAttribute(name, "");
    } else if (typeof value === "string") {
      made.setAttribute(name, value);
    }
  }
  made.append(...present(children));
  return made;
}
function button(label, action, name = label, rest = {}) {
  return element(
    "button",
    {
      type: "button",
      class: "conduit-button",
      "data-do": action,
      "aria-label": name,
      title: name,
      ...rest
    },
    label
  );
}
function show(parent, ...children) {
  patchChildren(parent, present(children));
}
function meantBy(event) {
  if (!(event.target instanceof Element)) {
    return null;
  }
  const pressed = event.target.closest("[data-do]");
  const action = pressed?.getAttribute("data-do");
  if (!pressed || !action) {
    return null;
  }
  return { action, key: pressed.closest("[data-key]")?.getAttribute("data-key") ?? "" };
}
function present(children) {
  return children.filter((child) => Boolean(child));
}
function patchChildren(parent, wanted) {
  let next = parent.firstChild;
  for (const node of wanted) {
    const made = typeof node === "string" ? document.createTextNode(node) : node;
    let old = next;
    while (old && !isAlike(old, made)) {
      old = old.nextSibling;
    }
    if (!old) {
      parent.insertBefore(made, next);
      continue;
    }
    removeUntil(old, next);
    next = old.nextSibling;
    if (!old.isEqualNode(made)) {
      patch(old, made);
    }
  }
  removeUntil(null, next);
}
function removeUntil(end, first) {
  let node = first;
  while (node && node !== end) {
    const following = node.nextSibling;
    node.remove();
    node = following;
  }
}
function isAlike(old, made) {
  if (!(old instanceof Element) || !(made instanceof Element)) {
    return old.nodeType === made.nodeType;
  }
  const names = ["class", "data-do", "data-key"];
  return old.tagName === made.tagName && names.every((name) => old.getAttribute(name) === made.getAttribute(name));
}
function patch(old, made) {
  if (!(old instanceof Element) || !(made instanceof Element)) {
    old.nodeValue = made.nodeValue;
    return;
  }
  for (const name of old.getAttributeNames()) {
    if (!made.hasAttribute(name) && name !== "open") {
      old.removeAttribute(name);
    }
  }
  for (const name of made.getAttributeNames()) {
    if (old.getAttribute(name) !== made.getAttribute(name)) {
      old.setAttribute(name, made.getAttribute(name) ?? "");
    }
  }
  patchChildren(old, [...made.childNodes]);
}

// src/shared/text.ts
var LONGEST = 2e3;
var UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
function plain(text, longest = LONGEST) {
  const cut = text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
  return cut.replace(UNSEEN, "�");
}

// src/shared/problem.ts
var LONGEST2 = 500;
function problemView(problem, role = "status") {
  return element("p", { class: "conduit-problem", role }, textOf(problem));
}
function textOf({ message, hint }) {
  return plain(hint ? `${message} ${hint}` : message, LONGEST2);
}

// src/shared/confirm.ts
var InlineQuestion = class {
  constructor(root, redraw) {
    this.root = root;
    this.redraw = redraw;
    root.addEventListener("click", (event) => {
      const action = meantBy(event)?.action;
      if (action === "accept" || action === "cancel") {
        this.settle(action === "accept");
      }
    });
    root.addEventListener("keydown", (event) => {
      const { target } = event;
      if (event.key === "Escape" && target instanceof Element && target.closest(".conduit-confirm")) {
        this.settle(false);
      }
    });
  }
  root;
  redraw;
  asked = null;
  ask = (question, place) => {
    const focused = this.root.ownerDocument.activeElement;
    this.settle(false);
    return new Promise((answer) => {
      this.asked = { question, place, answer, focused };
      this.redraw();
      const [fault, cancel] = ["[aria-invalid=true]", "[data-do=cancel]"].map(
        (which) => this.root.querySelector(`.conduit-confirm ${which}`)
      );
      (fault ?? cancel)?.focus();
    });
  };
  get isAsking() {
    return this.asked !== null;
  }
  /** Answers what is asked, if anything is, and puts the focus back where it was. */
  settle(isYes) {
    const asked = this.asked;
    if (!asked) {
      return;
    }
    asked.question.form?.keep(this.root);
    this.asked = null;
    this.redraw();
    if (asked.focused instanceof HTMLElement && this.root.contains(asked.focused)) {
      asked.focused.focus();
    }
    asked.answer(isYes);
  }
  /** The question, where it was asked for this place. */
  view(place) {
    if (this.asked?.place !== place) {
      return null;
    }
    const { title, body, accept, form } = this.asked.question;
    const text = `${title} ${body}`.trim();
    return element(
      "div",
      { class: "conduit-confirm", role: "group", "aria-label": text },
      element("span", {}, text),
      form?.view(),
      button(accept, "accept"),
      button("Cancel", "cancel")
    );
  }
};

// src/shared/words.ts
function usd(amount) {
  const size = Math.abs(amount);
  const sign = amount < 0 ? "-" : "";
  return size > 0 && size < 5e-5 ? `${sign}<$0.0001` : `${sign}$${digits(size)}`;
}
function digits(amount) {
  const fixed = amount.toFixed(amount > 0 && amount < 0.09995 ? 4 : 2);
  return fixed.replace(/\B(?=(\d{3})+\.)/g, ",");
}
function count(number2, noun) {
  return `${number2.toLocaleString("en-US")} ${noun}${number2 === 1 ? "" : "s"}`;
}
function span(seconds) {
  const whole = Math.max(seconds, 0);
  if (whole < 90) {
    return `${Math.round(whole)} s`;
  }
  if (whole < 90 * 60) {
    return `${Math.round(whole / 60)} min`;
  }
  return whole < 48 * 3600 ? `${(whole / 3600).toFixed(1)} h` : `${Math.round(whole / 86400)} days`;
}
function clock(moment) {
  const read = new Date(moment);
  return Number.isNaN(read.valueOf()) ? "never" : read.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

// src/shared/offering_rows.ts
var LONGEST_WHY = 160;
function number(field, head, about, text) {
  return { field, head, about, isNumber: true, text };
}
var GIB = number("gib", "GiB", "Memory of all devices", (one) => one.gib.toFixed(1));
var PER_HOUR = number(
  "usd_per_hour",
  "$/h",
  "Dollars per hour",
  (one) => digits(one.usd_per_hour)
);
var AVAILABILITY = {
  field: "availability",
  head: "availability",
  about: "Stock, and how old that is",
  text: stock
};
var PROVIDER = {
  field: "provider",
  head: "provider",
  about: "Provider",
  text: (one) => one.provider
};
var COLUMNS = [
  { field: "fits", head: "fits", about: "Whether it holds the plan", text: verdict },
  { field: "gpu", head: "GPU", about: "Device", text: (one) => one.gpu },
  number("count", "count", "Devices", (one) => `${one.count}`),
  GIB,
  PER_HOUR,
  number(
    "usd_per_gib",
    "$/h per GiB",
    "Dollars per hour and GiB",
    (one) => one.usd_per_gib.toFixed(4)
  ),
  number(
    "usd_per_mtok",
    "$/1M tokens",
    "Dollars per million tokens, an estimate",
    (one) => one.usd_per_mtok === null ? "" : digits(one.usd_per_mtok)
  ),
  number(
    "tokens_per_s",
    "tokens/s",
    "Tokens per second, an estimate",
    (one) => one.tokens_per_s === null ? "" : one.tokens_per_s.toFixed(0)
  ),
  AVAILABILITY,
  { field: "region", head: "region", about: "Region", text: (one) => one.region },
  PROVIDER
];
var WATCHED = ["fits", "usd_per_hour", "availability"];
function rowsOf({ columns, rows }) {
  const fields = (row) => Object.fromEntries(columns.map((name, index) => [name, row[index]]));
  return rows.map((row) => fields(row));
}
function devices(one) {
  return one.count > 1 ? `${one.count} x ${one.gpu}` : one.gpu;
}
function verdict(one) {
  if (one.fits === false || one.why) {
    return one.why.length > LONGEST_WHY ? `${one.why.slice(0, LONGEST_WHY)} …` : one.why;
  }
  return [one.fits ? "fits" : "", one.launchable ? "" : "price only"].filter(Boolean).join(", ");
}
function stock(one, now) {
  return one.as_of ? `${one.availability}, ${span((now - Date.parse(one.as_of)) / 1e3)} ago` : one.availability;
}
function compare(one, other, isDown) {
  if (one === null || other === null) {
    return Number(one === null) - Number(other === null);
  }
  const order = one < other ? -1 : one > other ? 1 : 0;
  return isDown ? -order : order;
}

// src/shared/offerings.ts
var MARGIN = 8;
var MOST_ROWS = 200;
var ROW_PX = 26;
var LONGEST_CELL = 400;
var OfferingsTable = class {
  constructor(host) {
    this.host = host;
    this.heads = host.columns.map(
      (column) => element(
        "th",
        { scope: "col", "aria-sort": "none", "data-key": column.field, class: classOf(column) },
        button(column.head, "sort", `${column.about}: sort`)
      )
    );
    const use = host.tools ? [element("th", { scope: "col" }, "Use")] : [];
    const width = `${host.columns.length + use.length}`;
    const spacer = () => element("tr", { "aria-hidden": "true" }, element("td", { colspan: width }));
    this.above = spacer();
    this.below = spacer();
    this.body = element("tbody", {}, this.above, this.below);
    this.grid = element(
      "table",
      { role: "grid", "aria-label": "Offerings", tabindex: "0" },
      element("thead", {}, element("tr", { "aria-rowindex": "1" }, ...this.heads, ...use)),
      this.body
    );
    this.scroller = element("div", { class: "conduit-scroller" }, this.grid);
    this.bar.hidden = !host.refresh;
    this.root = element(
      "div",
      { class: "conduit-offerings" },
      this.title,
      this.bar,
      this.refusal,
      this.question,
      this.scroller,
      this.status,
      this.problems
    );
    this.listen();
    this.arrange();
  }
  host;
  all = [];
  shown = [];
  offered = null;
  order = null;
  /** What stood where something has changed, by key and field. */
  changes = /* @__PURE__ */ new Map();
  news = "";
  selected = "";
  rowPx = ROW_PX;
  canAsk = true;
  title = element("strong", { class: "conduit-title" });
  search = element("input", {
    type: "search",
    placeholder: "GPU, region, provider"
  });
  provider = element("select");
  onlyFits = element("input", { type: "checkbox" });
  onlyLaunchable = element("input", { type: "checkbox" });
  fitsLabel = labelled("only what fits", this.onlyFits);
  deployButton = button("Deploy …", "deploy", "Deploy on the selected offering");
  refreshButton = button("Refresh", "refresh", "Ask every provider again");
  bar = element(
    "div",
    { class: "conduit-bar", role: "group", "aria-label": "Filter and act" },
    labelled("search", this.search),
    labelled("provider", this.provider),
    this.fitsLabel,
    labelled("only what can be started", this.onlyLaunchable),
    this.refreshButton,
    this.deployButton
  );
  refusal = element("div");
  /** Where a question about an offering may be drawn. */
  question = element("div");
  heads;
  above;
  below;
  body;
  grid;
  scroller;
  status = element("p", { class: "conduit-status", role: "status" });
  problems = element("div");
  root;
  /** Shows what is offered now, and marks what of it has changed. */
  show(offered) {
    const before = new Map(this.all.map((one) => [one.key, one]));
    let fresh = 0;
    this.changes = /* @__PURE__ */ new Map();
    for (const one of offered.rows) {
      const old = before.get(one.key);
      before.delete(one.key);
      if (!old) {
        fresh += 1;
        continue;
      }
      const changed = WATCHED.filter((field) => old[field] !== one[field]);
      if (changed.length > 0) {
        this.changes.set(one.key, new Map(changed.map((field) => [field, String(old[field])])));
      }
    }
    this.news = this.offered ? newsOf(this.changes.size, fresh, before.size) : "";
    this.all = offered.rows;
    this.offered = offered;
    this.title.textContent = plain(offered.title);
    this.deployButton.hidden = !offered.can_deploy;
    this.fitsLabel.hidden = !offered.has_plan;
    this.offerProviders();
    const problems = offered.failures.map(
      (one) => problemView({ ...one, message: `${one.provider}: ${one.message}` }, "alert")
    );
    show(this.problems, ...problems);
    this.arrange();
  }
  /** Says that nothing of it can be relied on or done any more, or that it can again. */
  setAlive(isAlive) {
    this.canAsk = isAlive;
    this.deployButton.disabled = !isAlive;
    this.refreshButton.disabled = !isAlive;
    this.say();
  }
  listen() {
    this.bar.addEventListener("input", () => this.arrange());
    this.scroller.addEventListener("scroll", () => this.draw());
    this.root.addEventListener("click", (event) => {
      const meant = meantBy(event);
      if (meant?.action === "sort") {
        this.sortBy(meant.key);
      } else if (meant?.action === "refresh") {
        this.host.refresh?.();
      } else if (meant?.action === "deploy") {
        this.deploy();
      }
    });
    this.grid.addEventListener("keydown", (event) => this.press(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target instanceof Element ? event.target.closest("tr[data-key]") : null;
      if (row && !meantBy(event)) {
        this.pick(row.getAttribute("data-key") ?? "");
      }
    });
    this.body.addEventListener("dblclick", (event) => {
      if (!meantBy(event)) {
        this.deploy();
      }
    });
  }
  sortBy(field) {
    const isSame = this.order?.field === field;
    this.order = isSame && this.order?.isDown ? null : { field, isDown: isSame };
    for (const head of this.heads) {
      const isSorted = this.order?.field === head.getAttribute("data-key");
      const way = this.order?.isDown ? "descending" : "ascending";
      head.setAttribute("aria-sort", isSorted ? way : "none");
    }
    this.arrange();
  }
  offerProviders() {
    const names = [...new Set(this.all.map((one) => one.provider))].sort();
    offer(this.provider, [["", "all"], ...names.map((name) => [name, name])]);
  }
  /** Sorts and filters, then draws. */
  arrange() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.shown = this.all.filter(
      (one) => (!this.provider.value || one.provider === this.provider.value) && (!this.onlyFits.checked || one.fits === true) && (!this.onlyLaunchable.checked || one.launchable) && words.every(
        (word) => `${one.gpu} ${one.region} ${one.provider}`.toLowerCase().includes(word)
      )
    );
    if (this.order) {
      const { field, isDown } = this.order;
      this.shown.sort((one, other) => compare(one[field], other[field], isDown));
    }
    this.grid.setAttribute("aria-rowcount", `${this.shown.length + 1}`);
    this.say();
    this.draw();
  }
  say() {
    if (!this.offered) {
      this.status.textContent = this.canAsk ? "Asking every provider …" : "Without a kernel nothing is asked; what was offered stands below, where it was saved.";
      return;
    }
    const all = count(this.all.length, "offering");
    const isWhole = this.shown.length === this.all.length;
    const parts = [
      isWhole ? all : `${this.shown.length.toLocaleString("en-US")} of ${all}`,
      `as of ${clock(this.offered.at)}`,
      this.news
    ];
    this.status.textContent = parts.filter(Boolean).join("; ");
  }
  /** Draws the rows in sight. */
  draw() {
    const { above, below, rowPx, scroller, shown } = this;
    const first = Math.max(0, Math.floor(scroller.scrollTop / rowPx) - MARGIN);
    const inSight = Math.ceil((scroller.clientHeight || 10 * ROW_PX) / rowPx) + 2 * MARGIN;
    const last = Math.min(shown.length, first + Math.min(inSight, MOST_ROWS));
    const now = Date.now();
    const rows = shown.slice(first, last).map((one, index) => this.row(one, first + index, now));
    setHeight(above, first * rowPx);
    setHeight(below, (shown.length - last) * rowPx);
    show(this.body, above, ...rows, below);
    const drawn = this.body.querySelector("tr[data-key]")?.offsetHeight;
    if (drawn && Math.abs(drawn - rowPx) > 0.5) {
      this.rowPx = drawn;
      this.draw();
    }
  }
  row(one, index, now) {
    const marks = this.changes.get(one.key);
    const cells = this.host.columns.map((column) => {
      const was = marks?.get(column.field);
      const text = plain(column.text(one, now), LONGEST_CELL);
      const range = column.field === "tokens_per_s" ? one.speed_range : "";
      const classes = [classOf(column), was !== void 0 && "conduit-changed"];
      return element(
        "td",
        {
          class: classes.filter(Boolean).join(" "),
          title: was === void 0 ? range || text : `was ${was}`
        },
        text
      );
    });
    const { tools } = this.host;
    return element(
      "tr",
      {
        "data-key": one.key,
        "aria-rowindex": `${index + 2}`,
        "aria-selected": `${one.key === this.selected}`,
        class: one.fits === false ? "conduit-out" : ""
      },
      ...cells,
      tools && element("td", { class: "conduit-tools" }, ...tools(one))
    );
  }
  press(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowPx) - 2);
    const at = this.shown.findIndex((one) => one.key === this.selected);
    const targets = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this.shown.length - 1
    };
    const target = targets[event.key];
    if (target !== void 0) {
      event.preventDefault();
      this.goTo(Math.max(0, Math.min(target, this.shown.length - 1)));
    } else if (event.key === "Enter" && !(event.target instanceof HTMLButtonElement)) {
      event.preventDefault();
      this.deploy();
    }
  }
  goTo(index) {
    const one = this.shown[index];
    if (!one) {
      return;
    }
    const { rowPx, scroller } = this;
    const top = index * rowPx;
    const room = scroller.clientHeight - (this.grid.tHead?.offsetHeight ?? 0) - rowPx;
    if (top < scroller.scrollTop) {
      scroller.scrollTop = top;
    } else if (top > scroller.scrollTop + room) {
      scroller.scrollTop = top - room;
    }
    this.pick(one.key);
  }
  find(key) {
    return this.all.find((one) => one.key === key);
  }
  pick(key) {
    this.selected = key;
    this.draw();
    const one = this.find(key);
    if (one) {
      const text = `${one.gpu}, ${usd(one.usd_per_hour)}/h at ${one.provider}`;
      this.status.textContent = plain([text, verdict(one)].filter(Boolean).join(": "));
    }
  }
  deploy() {
    if (!this.host.deploy || !this.offered?.can_deploy || !this.canAsk) {
      return;
    }
    const one = this.find(this.selected);
    let refusal = null;
    if (!one) {
      refusal = {
        message: "No offering is selected.",
        hint: "Click a row, or use the arrow keys."
      };
    } else if (one.fits === false || !one.launchable) {
      refusal = { message: `It cannot be started here: ${verdict(one)}.` };
    } else {
      this.host.deploy(one);
    }
    show(this.refusal, refusal && problemView(refusal, "alert"));
  }
};
function labelled(label, control) {
  return element("label", {}, element("span", {}, label), control);
}
function offer(control, choices) {
  const before = control.value;
  const options = choices.map(([value, name]) => element("option", { value }, plain(name, 80)));
  control.replaceChildren(...options);
  control.value = choices.some(([value]) => value === before) ? before : choices[0]?.[0] ?? "";
}
function classOf(column) {
  return column.isNumber ? "conduit-number" : "";
}
function setHeight(row, height) {
  row.hidden = height === 0;
  const cell = row.cells[0];
  if (cell) {
    cell.style.height = `${height}px`;
  }
}
function newsOf(changed, fresh, gone) {
  const counted = (number2, what) => number2 ? `${number2.toLocaleString("en-US")} ${what}` : "";
  return [counted(changed, "changed"), counted(fresh, "new"), counted(gone, "gone")].filter(Boolean).join(", ");
}

// src/shared/option_form.ts
var NUMBERS = ["count", "whole", "number", "usd", "hours", "seconds"];
var LONGEST_NAME = 80;
var OptionForm = class {
  options = [];
  filled = /* @__PURE__ */ new Map();
  /** The option whose field holds what is no number; a browser does not say what that is. */
  unreadable = null;
  fault = null;
  /** Ids of elements are one namespace, for all forms of a page and all bundles in it. */
  id = `conduit-form-${Math.random().toString(36).slice(2)}`;
  /** Takes the options that it asks for; what was filled in for others is dropped. */
  offer(options) {
    this.options = options;
    const names = new Set(options.map((one) => one.name));
    this.filled = new Map([...this.filled].filter(([name]) => names.has(name)));
  }
  /** The form; null where no options are known. */
  view() {
    if (this.options.length === 0) {
      return null;
    }
    const basic = this.options.filter((one) => one.is_basic);
    const others = this.options.filter((one) => !one.is_basic);
    const isOpen = others.some(({ name }) => this.filled.has(name) || this.isAtFault(name));
    return element(
      "div",
      { class: "conduit-options", "data-form": this.id },
      element("div", { class: "conduit-fields" }, ...basic.map((one) => this.field(one))),
      others.length > 0 && element(
        "details",
        { open: isOpen },
        element("summary", {}, "More options"),
        element("div", { class: "conduit-fields" }, ...others.map((one) => this.field(one)))
      )
    );
  }
  /** Notes what is typed in the form, where it is drawn below `root`. */
  keep(root) {
    const drawn = root.querySelector(`[data-form="${this.id}"]`);
    if (!drawn) {
      return;
    }
    this.filled.clear();
    this.unreadable = null;
    this.fault = null;
    for (const control of drawn.querySelectorAll("[name]")) {
      const option = this.options.find((one) => one.name === control.name);
      if (!option) {
        continue;
      }
      const value = valueOf(control);
      if (control.validity.badInput) {
        this.unreadable ??= option.name;
      } else if (value !== valueLeftOut(option)) {
        this.filled.set(option.name, value);
      }
    }
  }
  /** What was filled in, without what was left out; null where a field has to be corrected. */
  get given() {
    if (this.unreadable !== null) {
      this.blame({ message: `${this.unreadable} must be a number.`, param: this.unreadable });
      return null;
    }
    return Object.fromEntries(this.filled);
  }
  /** Empties the form, or fills in what is given. */
  fill(given = {}) {
    this.filled = new Map(Object.entries(given));
    this.unreadable = null;
    this.fault = null;
  }
  /** Marks the field of the option at fault, until it is filled in again; false where it has none. */
  blame(problem) {
    const isMine = this.options.some((one) => one.name === problem.param);
    this.fault = isMine ? problem : null;
    return isMine;
  }
  isAtFault(name) {
    return this.fault?.param === name;
  }
  field(option) {
    const { name, units } = option;
    const id = `${this.id}-${name}`;
    const isAtFault = this.isAtFault(name);
    const parts = [units !== null && "unit", "help", isAtFault && "fault"].filter(Boolean);
    const control = controlOf(option, this.filled.get(name) ?? valueLeftOut(option), {
      id,
      name,
      "aria-describedby": parts.map((part) => `${id}-${String(part)}`).join(" "),
      "aria-invalid": isAtFault ? "true" : void 0
    });
    return element(
      "div",
      { class: "conduit-field", "data-key": name },
      element("label", { for: id }, plain(option.label, LONGEST_NAME)),
      element(
        "span",
        { class: "conduit-control" },
        control,
        units !== null && element("span", { id: `${id}-unit` }, plain(units, LONGEST_NAME))
      ),
      element("span", { class: "conduit-help", id: `${id}-help` }, plain(option.help)),
      isAtFault && this.fault && element(
        "span",
        { class: "conduit-problem", id: `${id}-fault`, role: "alert" },
        textOf(this.fault)
      )
    );
  }
};
function valueLeftOut(option) {
  return option.kind === "flag" ? String(option.default === true) : "";
}
function valueOf(control) {
  return control instanceof HTMLInputElement && control.type === "checkbox" ? String(control.checked) : control.value.trim();
}
function controlOf(option, value, attributes) {
  if (option.kind === "flag") {
    return element("input", { ...attributes, type: "checkbox", checked: value === "true" });
  }
  const without = option.default === null ? "" : plain(String(option.default), LONGEST_NAME);
  const choices = option.kind === "switch" ? ["yes", "no"] : option.choices;
  if (choices.length > 0) {
    const chosen = (one, label) => element("option", { value: one, selected: one === value }, label);
    return element(
      "select",
      attributes,
      chosen("", without ? `default (${without})` : "not set"),
      ...choices.map((one) => chosen(one, plain(one, LONGEST_NAME)))
    );
  }
  const kind = NUMBERS.includes(option.kind) ? { type: "number", step: "any" } : { type: "text" };
  return element("input", {
    ...attributes,
    ...kind,
    value,
    placeholder: without,
    autocomplete: "off",
    spellcheck: "false"
  });
}

// src/panels/sight.ts
var SEEN_EVERY_MS = 2e4;
function whileSeen(root, seen) {
  let isInSight = false;
  let timer;
  const stop = () => {
    clearInterval(timer);
    timer = void 0;
  };
  const look = () => {
    if (!isInSight || document.visibilityState !== "visible") {
      stop();
    } else if (timer === void 0) {
      seen();
      timer = setInterval(seen, SEEN_EVERY_MS);
    }
  };
  const observer = new IntersectionObserver((changes) => {
    isInSight = changes.at(-1)?.isIntersecting ?? isInSight;
    look();
  });
  observer.observe(root);
  document.addEventListener("visibilitychange", look);
  return () => {
    stop();
    observer.disconnect();
    document.removeEventListener("visibilitychange", look);
  };
}

// src/panels/comm.ts
var SILENT_MS = 12e3;
var CHECK_MS = 1e3;
var Comm = class {
  constructor(model, heard, changed) {
    this.model = model;
    this.heard = heard;
    this.changed = changed;
  }
  model;
  heard;
  changed;
  isAlive = false;
  heardAt = 0;
  /** The view's own name. */
  name = `${Date.now()}-${Math.random()}`;
  logs = /* @__PURE__ */ new Map();
  endings = [];
  /** Begins to listen, asks for all there is, and tells whether `root` is seen from now on. */
  begin(root) {
    this.listen("change:seen_at", () => this.hear());
    this.listen("msg:custom", (message) => {
      this.hear();
      if (message.kind === "logs") {
        this.logs.get(message.key)?.(message.lines);
      }
      this.heard(message);
    });
    this.listen("comm_live_update", () => {
      this.heardAt = 0;
      this.check();
    });
    const timer = setInterval(() => this.check(), CHECK_MS);
    const unsee = whileSeen(root, () => {
      this.send({ kind: "seen" });
    });
    this.endings.push(unsee, () => clearInterval(timer));
    this.send({ kind: "here" });
  }
  end() {
    for (const end of this.endings) {
      end();
    }
    if (this.isAlive) {
      this.send({ kind: "gone" });
    }
  }
  /** When the kernel last told that it is there, also where that is saved in the notebook. */
  get seenAt() {
    return clock(String(this.model.get("seen_at")));
  }
  act(key, verb) {
    this.send({ kind: "act", key, verb });
    return Promise.resolve();
  }
  watchLog(key, heard) {
    this.logs.set(key, heard);
    this.send({ kind: "logs", key, open: true });
    return () => {
      this.logs.delete(key);
      this.send({ kind: "logs", key, open: false });
    };
  }
  /** Says something to the kernel, which hears it once no cell runs. */
  send(message) {
    try {
      this.model.send({ ...message, view: this.name });
    } catch {
    }
  }
  listen(name, listener) {
    this.model.on(name, listener);
    this.endings.push(() => this.model.off(name, listener));
  }
  hear() {
    this.heardAt = Date.now();
    this.check();
  }
  check() {
    const isAlive = Date.now() - this.heardAt < SILENT_MS;
    if (isAlive !== this.isAlive) {
      this.isAlive = isAlive;
      this.changed();
    }
  }
};

// src/panels/panel.ts
var OFFERING = "offering";
var Panel = class {
  root;
  comm;
  questions;
  offerings;
  /** What came of the last thing that was asked for. */
  said = element("div");
  /** How what is deployed is to be. */
  options = new OptionForm();
  models = [];
  sent = null;
  constructor({ model, el }, name) {
    this.root = element("section", {
      class: "conduit-panel",
      "aria-label": name,
      "data-lm-suppress-shortcuts": "true"
    });
    this.root.addEventListener("keydown", (event) => event.stopPropagation());
    el.append(this.root);
    this.questions = new InlineQuestion(this.root, () => this.drawAll());
    this.comm = new Comm(
      model,
      (message) => this.take(message),
      () => this.connect()
    );
    this.offerings = new OfferingsTable({
      columns: COLUMNS,
      refresh: () => this.refresh(),
      deploy: (one) => void this.deploy(one)
    });
  }
  end() {
    this.comm.end();
  }
  begin() {
    this.connect();
    this.comm.begin(this.root);
  }
  /** Takes note that the kernel came or went. */
  connect() {
    const { isAlive } = this.comm;
    this.offerings.setAlive(isAlive);
    if (!isAlive) {
      this.questions.settle(false);
    }
    this.drawAll();
  }
  take(message) {
    if (message.kind === "choices") {
      this.options.offer(message.options);
    } else if (message.kind === "table") {
      this.models = message.models;
      this.offerings.show({ ...message, rows: rowsOf(message) });
    } else if (message.kind === "action") {
      this.say(message.text);
    } else if (message.kind === "problem") {
      this.takeFailure(message);
    }
  }
  say(text) {
    show(this.said, text && element("p", { role: "status" }, plain(text)));
  }
  /** Asks how the models are to be deployed on an offering, and tells the kernel. */
  async deploy(one, models = this.models) {
    const place = [plain(one.provider, 80), plain(one.region, 80)].filter(Boolean).join(", ");
    const question = {
      title: `Deploy on ${plain(devices(one), 80)} at ${place} for ${usd(one.usd_per_hour)}/h?`,
      body: "",
      accept: "Deploy",
      form: this.options
    };
    while (await this.questions.ask(question, OFFERING)) {
      const { given } = this.options;
      if (given) {
        this.sent = { one, models, given };
        this.options.fill();
        this.comm.send({ kind: "deploy", key: one.key, request: { ...given, models } });
        return;
      }
    }
  }
  /**
   * Shows what went wrong. Where an option of what was sent from here is at fault, the form comes
   * back with it marked, unless its user does something else by now.
   */
  takeFailure(problem) {
    const { sent } = this;
    const isOfIt = problem.form === this.comm.name && problem.key === sent?.one.key;
    if (sent && isOfIt && !this.questions.isAsking) {
      this.sent = null;
      this.options.fill(sent.given);
      const active = document.activeElement;
      const isHere = active === null || active === document.body || this.root.contains(active);
      if (this.options.blame(problem) && isHere) {
        this.say("");
        void this.deploy(sent.one, sent.models);
        return;
      }
    }
    show(this.said, problemView(problem, "alert"));
  }
  drawAll() {
    show(this.offerings.question, this.questions.view(OFFERING));
    this.draw();
  }
};
function widgetOf(Kind) {
  return {
    render: (given) => {
      const panel = new Kind(given);
      return () => {
        panel.end();
      };
    }
  };
}

// src/panels/offering_table.ts
var OfferingPanel = class extends Panel {
  connection = element("div");
  constructor(given) {
    super(given, "Offerings");
    this.root.append(this.connection, this.offerings.root, this.said);
    this.begin();
  }
  refresh() {
    this.comm.send({ kind: "refresh" });
  }
  draw() {
    const message = `Disconnected, last seen ${this.comm.seenAt}. Prices are of then.`;
    show(this.connection, !this.comm.isAlive && problemView({ message }));
  }
};
var offering_table_default = widgetOf(OfferingPanel);
export {
  offering_table_default as default
};

"use strict";
// The slider and the table of users. Names from the log reach the page as text only, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const stand = JSON.parse(byId("explorer-data").textContent);
  let stop = stand.recommended;
  let showUsers = () => {};

  byId("theme").addEventListener("change", (event) => {
    if (event.target.value) document.documentElement.dataset.theme = event.target.value;
    else delete document.documentElement.dataset.theme;
  });

  // Where to cut -----------------------------------------------------------------------------------------------------
  const slider = byId("threshold");
  const typed = byId("typed");
  const figures = ["threshold", "mark", "users", "users_note", "labels", "labels_note", "precision", "precision_note",
    "effective", "effective_note"].filter((name) => stand[name]);
  const percent = (place) => `${100 * place}%`;

  function move(to) {
    stop = to;
    slider.value = stop;
    for (const name of figures) byId(`at-${name.replace("_", "-")}`).textContent = stand[name][stop];
    slider.setAttribute("aria-valuetext", `${stand.threshold[stop]} ${stand.mark[stop]}: keeps ${stand.users[stop]} `
      + `users, who attend to ${stand.precision[stop]} of their votes, and ${stand.labels[stop]} labels, `
      + `${stand.effective[stop]} effective labels`);
    if (document.activeElement !== typed) typed.value = stand.threshold[stop];
    const x = percent(stand.x[stop]);
    for (const name of ["worth", "precision"]) {
      byId(`cursor-${name}`).setAttribute("x1", x);
      byId(`cursor-${name}`).setAttribute("x2", x);
    }
    for (const name of ["worth", "precision", "share"]) {
      byId(`point-${name}`).setAttribute("cx", x);
      byId(`point-${name}`).setAttribute("cy", percent(1 - stand[`${name}_y`][stop]));
    }
    showUsers();
  }

  function nearest(value) {
    let best = 0;
    stand.x.forEach((x, k) => { if (Math.abs(x - value) < Math.abs(stand.x[best] - value)) best = k; });
    return best;
  }

  for (const control of [slider, typed, byId("back")]) control.disabled = false;
  slider.addEventListener("input", () => move(Number(slider.value)));
  typed.addEventListener("input", () => {
    if (typed.value !== "" && typed.validity.valid) move(nearest(Number(typed.value)));
  });
  typed.addEventListener("blur", () => { typed.value = stand.threshold[stop]; });
  byId("back").addEventListener("click", () => move(stand.recommended));
  move(stop);

  // The users --------------------------------------------------------------------------------------------------------
  const status = byId("users-status");
  if (typeof DecompressionStream === "undefined") {
    status.textContent = "This browser is too old to unpack the table of users; browsers since 2023 can.";
    return;
  }
  const letters = atob(byId("users-data").textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
  new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).json().then(fill);

  function fill(users) {
    const count = users.name.length;
    const place = users.place || Array.from({ length: count }, (_, k) => k);
    const width = users.lower.map((low, k) => (low < 0 ? -1 : users.upper[k] - low));
    const body = byId("user-rows");
    const headers = [...document.querySelectorAll("#user-table th button")];
    const number = new Intl.NumberFormat("en-US");
    let lowered = null;
    let order = Uint32Array.from({ length: count }, (_, k) => k); // users in the order of the sorted column
    let seen = order; // those that search and choice leave
    let first = 0;
    let sorted = { key: "mean", up: false };

    // Places are by falling attentiveness: they break ties, and are the order by mean.
    const keys = { votes: (k) => users.votes[k], mean: (k) => -k, width: (k) => width[k] };
    const shown = (thousandths) => (thousandths < 0 ? "not known" : (thousandths / 1000).toFixed(3));

    function sort(key, up) {
      sorted = { key, up };
      const sign = up ? 1 : -1;
      const name = users.name;
      if (key === "name") order.sort((a, b) => sign * ((name[a] > name[b]) - (name[a] < name[b])) || a - b);
      else {
        const value = Float64Array.from(order, (_, k) => sign * keys[key](k));
        order.sort((a, b) => value[a] - value[b] || a - b);
      }
      for (const button of headers) {
        const own = button.dataset.sort === key;
        button.parentElement.setAttribute("aria-sort", own ? (up ? "ascending" : "descending") : "none");
        button.querySelector(".arrow").textContent = own ? (up ? "▲" : "▼") : "";
      }
    }

    function select() {
      const wanted = byId("search").value.trim().toLowerCase();
      const which = byId("which").value;
      const kept = stand.kept[stop];
      if (wanted && !lowered) lowered = users.name.map((name) => name.toLowerCase());
      seen = !wanted && which === "all" ? order : order.filter((k) => (
        (!wanted || lowered[k].includes(wanted)) && (which === "all" || (place[k] < kept) === (which === "kept"))));
    }

    function cell(row, text, kind, tag = "td") {
      const made = document.createElement(tag);
      made.textContent = text;
      if (kind) made.className = kind;
      row.append(made);
      return made;
    }

    function draw() {
      const size = Number(byId("size").value);
      first = Math.max(0, Math.min(first, Math.floor((seen.length - 1) / size) * size));
      const last = Math.min(first + size, seen.length);
      const rows = [];
      for (const k of seen.slice(first, last)) {
        const row = document.createElement("tr");
        cell(row, number.format(place[k] + 1), "number wide");
        const name = cell(row, "", "name", "th");
        name.scope = "row";
        name.append(document.createElement("bdi"));
        name.firstChild.textContent = users.name[k];
        if (users.name[k].length > 20) name.title = users.name[k];
        cell(row, number.format(users.votes[k]), "number");
        cell(row, shown(users.mean[k]), "number");
        cell(row, users.lower[k] < 0 ? "not known" : `${shown(users.lower[k])} to ${shown(users.upper[k])}`, "number");
        const kept = place[k] < stand.kept[stop];
        cell(row, kept ? "kept" : "left out", kept ? "" : "out");
        rows.push(row);
      }
      body.replaceChildren(...rows);
      const of = seen.length === count ? `${number.format(count)} users` : `${number.format(seen.length)} users that match, `
        + `of ${number.format(count)}`;
      const told = seen.length ? `Rows ${number.format(first + 1)} to ${number.format(last)} of ${of}` : `No user matches, of ${number.format(count)}`;
      if (status.textContent !== told) status.textContent = told;
      for (const [id, none] of [["first", first === 0], ["previous", first === 0], ["next", last >= seen.length], ["last", last >= seen.length]]) {
        byId(`page-${id}`).setAttribute("aria-disabled", none); // and not disabled, which would lose the focus
      }
    }

    function refresh() {
      select();
      draw();
    }

    function turn(to) {
      first = to;
      draw();
    }

    headers.forEach((button) => button.addEventListener("click", () => {
      const key = button.dataset.sort;
      sort(key, sorted.key === key ? !sorted.up : key === "name");
      first = 0;
      refresh();
    }));
    for (const id of ["search", "which", "size"]) {
      byId(id).addEventListener("input", () => {
        first = 0;
        refresh();
      });
    }
    byId("page-first").addEventListener("click", () => turn(0));
    byId("page-previous").addEventListener("click", () => turn(first - Number(byId("size").value)));
    byId("page-next").addEventListener("click", () => turn(first + Number(byId("size").value)));
    byId("page-last").addEventListener("click", () => turn(seen.length));

    let waiting = false;
    showUsers = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        refresh();
      });
    };
    sort("mean", false);
    refresh();
  }
})();

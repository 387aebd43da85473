"use strict";
// What all pages share: "/" goes to the field of the page, Escape clears it.
const field = document.querySelector("[data-focus]");
document.getElementById("keys").hidden = !field;
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && field && document.activeElement !== field) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "Escape" && field && "value" in field && field.type === "search") {
    field.value = "";
    field.dispatchEvent(new Event("input"));
  }
});

// A select with data-shows shows the element with its value as id, and hides its siblings.
for (const select of document.querySelectorAll("select[data-shows]")) {
  const show = () => {
    for (const option of select.options)
      document.getElementById(option.value).hidden = option.value !== select.value;
  };
  select.addEventListener("change", show);
  show();
}

// Cards that are searched and sorted; what is on other pages is listed as links.
const cards = document.getElementById("cards");
if (cards) {
  const clusters = JSON.parse(document.getElementById("clusters").textContent);
  const search = document.getElementById("search"), sort = document.getElementById("sort");
  const elsewhere = document.getElementById("elsewhere"), found = document.getElementById("found");
  const pages = JSON.parse(cards.dataset.pages); // number -> address
  const LISTED = 200;
  for (const one of clusters) one.text = [one.name, ...one.more].join(" ").toLowerCase();
  const arrange = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [key, sign] = sort.value.split(" ");
    const value = (one) => one[key] ?? Infinity * sign;
    const matching = clusters
      .filter((one) => words.every((word) => one.text.includes(word)))
      .sort((a, b) => sign * (value(a) - value(b)) || a.id - b.id);
    for (const card of cards.children) card.hidden = true;
    const links = [];
    for (const one of matching) {
      const card = document.getElementById("c" + one.id);
      if (card) {
        card.hidden = false;
        cards.append(card);
      } else if (links.length < LISTED) {
        const item = document.createElement("li"), link = document.createElement("a");
        link.href = `${pages[one.page]}#c${one.id}`;
        link.textContent = `${one.name} (${one.size.toLocaleString("en")} images)`;
        item.append(link);
        links.push(item);
      }
    }
    elsewhere.replaceChildren(...links);
    elsewhere.parentElement.hidden = !links.length;
    found.textContent = `${matching.length} of ${clusters.length} clusters`;
  };
  search.addEventListener("input", arrange);
  sort.addEventListener("change", arrange);
  arrange();
}

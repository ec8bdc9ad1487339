// Who is there: each instance of a service, and for how long it was not heard where that is too long.

import { attribute, h, keyed, text } from "./dom.js";

const SILENT_MS = 15000;

export function servicesView() {
  const list = h("ul", { class: "services" });
  const root = h("section", { id: "services", "aria-labelledby": "services-title" },
    h("div", { class: "section-head" }, h("h2", { id: "services-title" }, "Services")), list);
  function update(view) {
    root.hidden = view.services.length === 0;
    keyed(list, view.services, (service) => `${service.service} ${service.instance}`, serviceItem);
  }
  return { root, update };
}

function serviceItem() {
  const root = h("li");
  function update({ service, instance, silent_ms: silentMs }) {
    const isSilent = silentMs > SILENT_MS;
    attribute(root, "class", isSilent ? "broken" : null);
    text(root, `${service.replaceAll("_", " ")} ${instance}${isSilent ? `, silent for ${Math.round(silentMs / 1000)} s` : ""}`);
  }
  return { root, update };
}

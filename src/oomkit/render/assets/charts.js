"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const views = [];

  // Legends wrap where the page is narrow; Vega-Lite alone would let them run out of it.
  function legendColumns(place) {
    return Math.max(1, Math.floor((place.clientWidth || 400) / 150));
  }

  function config(place) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    return {
      background: "transparent",
      font: "system-ui, 'Liberation Sans', 'DejaVu Sans', Arial, sans-serif",
      view: { stroke: colour("--line") },
      axis: {
        labelColor: colour("--soft"), titleColor: colour("--soft"), gridColor: colour("--line"),
        domainColor: colour("--soft"), tickColor: colour("--soft"), gridOpacity: 0.6,
        titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 11,
      },
      axisY: { minExtent: 44 },
      legend: {
        orient: "top", labelColor: colour("--ink"), labelFontSize: 12, offset: 6,
        symbolStrokeWidth: 2.5, symbolSize: 140, columns: legendColumns(place), labelLimit: 130,
      },
    };
  }

  function show(...ids) {
    const found = ids.map((id) => document.getElementById(id));
    const chosen = found.filter((one) => one && one.tagName === "DETAILS");
    if (!chosen.length) return;
    document.querySelectorAll("details.shown").forEach((one) => one.classList.remove("shown"));
    for (const one of chosen) {
      one.classList.add("shown");
      for (let each = one; each; each = each.parentElement.closest("details")) each.open = true;
    }
    chosen[0].scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "center" });
    chosen[0].querySelector("summary").focus({ preventScroll: true });
  }

  async function draw() {
    views.splice(0).forEach((result) => result.finalize());
    const tooltip = { theme: dark.matches ? "dark" : "light" };
    for (const source of document.querySelectorAll("script.spec")) {
      const place = document.getElementById(source.dataset.for);
      const options = { actions: false, renderer: "svg", config: config(place), tooltip };
      const result = await vegaEmbed(place, JSON.parse(source.textContent), options);
      result.view.addEventListener("click", (_event, item) => {
        const datum = (item && item.datum) || {};
        const kills = source.dataset.kills || "kill-";
        // Marks of kills at the same moment lie on each other, so all of them are meant.
        if (datum.together) show(...datum.together.map((kill) => kills + kill));
        if (Number.isInteger(datum.run)) show(`run-${datum.run}`);
      });
      views.push(result);
    }
  }

  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    draw();
  });
  dark.addEventListener("change", draw);
  addEventListener("hashchange", () => show(location.hash.slice(1)));
  draw().then(() => { if (location.hash) show(location.hash.slice(1)); });
})();

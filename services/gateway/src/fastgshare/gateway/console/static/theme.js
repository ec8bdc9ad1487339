// Runs before the page is drawn, so that a chosen theme never flashes as the other.
try {
  const chosen = localStorage.getItem("fastgshare.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is switched off: the system's theme it is.
}

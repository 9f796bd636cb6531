const button = document.getElementById("copy");
if (navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const status = document.getElementById("copied");
    status.textContent = "";
    try {
      await navigator.clipboard.writeText(document.getElementById("url").textContent);
      status.textContent = "Copied.";
    } catch {
      status.textContent = "Select the address and copy it by hand.";
    }
  });
}

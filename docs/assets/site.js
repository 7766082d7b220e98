// The dialog of the search gets a name for screen readers.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
// Code and tables scroll, so they can be reached by keyboard; the theme takes that away where it sees no mouse.
addEventListener("load", () => {
  for (const part of document.querySelectorAll("pre > code, .md-typeset__scrollwrap")) {
    const reach = () => part.scrollWidth > part.clientWidth && part.tabIndex < 0 && (part.tabIndex = 0)
    new MutationObserver(reach).observe(part, { attributeFilter: ["tabindex"] })
    reach()
  }
})
// The menu of narrow windows is opened by keyboard, too; the theme clicks a label that has the focus on Enter.
const menu = document.querySelector(".md-header__button[for=__drawer]")
menu.tabIndex = 0
menu.title = "Menu"

// Package browsertest looks at the demo through a real browser: what a person
// sees, what the browser keeps of the cookie, and what its console complains of.
//
// It needs Chromium (Debian's package chromium). Without one its tests skip, in
// CI they fail.
//
// TestScreenshots writes pictures of every page, wide and narrow, light and dark,
// into the folder that REDSESSION_SCREENSHOTS names, or else into the test's own.
package browsertest

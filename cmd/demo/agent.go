package main

import "strings"

// What browsers call themselves, most special first: each also claims to be most
// of those below it.
var (
	browserMarks = []struct{ mark, name string }{
		{"Edg/", "Edge"},
		{"OPR/", "Opera"},
		{"Firefox/", "Firefox"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
		{"curl/", "curl"},
	}
	systemMarks = []struct{ mark, name string }{
		{"Android", "Android"},
		{"iPhone", "an iPhone"},
		{"iPad", "an iPad"},
		{"Windows", "Windows"},
		{"Mac OS X", "a Mac"},
		{"Linux", "Linux"},
	}
)

// agentName returns a User-Agent as a person would say it, and as it is if it is
// none of the usual.
func agentName(agent string) string {
	browser, system := "", ""
	for _, b := range browserMarks {
		if browser == "" && strings.Contains(agent, b.mark) {
			browser = b.name
		}
	}
	for _, s := range systemMarks {
		if system == "" && strings.Contains(agent, s.mark) {
			system = " on " + s.name
		}
	}
	switch {
	case browser != "":
		return browser + system
	case agent == "":
		return "Unknown browser"
	}
	return agent
}

package rediserr

import (
	"regexp"
	"strings"
)

const (
	maxReply = 200
	ellipsis = "…"
)

var (
	// What follows are the arguments of a command that the server does not know.
	arguments = regexp.MustCompile(`(?i),? *with args beginning with`)
	// An apostrophe inside a word (can't) opens no quotation.
	quotation = regexp.MustCompile("(?:^|[^A-Za-z0-9])(['\"`])")
	// Quotations that hold the name of a command or words of Redis itself.
	harmless = regexp.MustCompile("(?i)command,? ['\"`][a-z][a-z0-9_.|-]{0,31}['\"`]|['\"`][a-z][a-z0-9_.|-]{0,31}['\"`] command|'(?:maxmemory|no|allow-stale|allow-oom|no-writes)'")
	// Ids, hashes and encoded values; words of Redis are shorter or all of small letters.
	encoded = regexp.MustCompile(`[A-Za-z0-9_+/=-]{20,}`)
)

// redact makes a reply fit for logs. It ends where the arguments of a command or a
// quotation begin, unless the latter is known to hold no argument.
func redact(text string) string {
	text = text[:min(len(text), 4*maxReply)]
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		text = text[:i]
	}
	if at := arguments.FindStringIndex(text); at != nil {
		text = text[:at[0]]
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	text = cutQuotation(text)
	text = encoded.ReplaceAllStringFunc(text, func(token string) string {
		if strings.ContainsAny(token, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			return "*"
		}
		return token
	})
	if len(text) > maxReply {
		text = text[:maxReply-len(ellipsis)] + ellipsis
	}
	return text
}

// cutQuotation ends text at the first quotation that may hold an argument.
func cutQuotation(text string) string {
	safe := harmless.FindAllStringIndex(text, -1)
	for _, at := range quotation.FindAllStringSubmatchIndex(text, -1) {
		open := at[2]
		for len(safe) > 0 && safe[0][1] <= open {
			safe = safe[1:]
		}
		if len(safe) == 0 || open < safe[0][0] {
			return text[:open] + ellipsis
		}
	}
	return text
}

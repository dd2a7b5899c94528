package queue

import "strings"

// redacted is a list of server addresses as it may be shown to people: what stands
// before the host is a login, and its second half, or all of it when there is only one
// part, is a secret (nats://USER:PASSWORD@HOST, nats://TOKEN@HOST). It parses nothing:
// an address that nobody can parse must not show its password either.
func redacted(list string) string {
	urls := strings.Split(list, ",")
	for i, u := range urls {
		start := 0
		if n := strings.Index(u, "://"); n >= 0 {
			start = n + len("://")
		}
		at := strings.LastIndexByte(u, '@')
		if at < start {
			continue
		}
		user, _, both := strings.Cut(u[start:at], ":")
		if both {
			user += ":"
		} else {
			user = ""
		}
		urls[i] = u[:start] + user + "***" + u[at:]
	}
	return strings.Join(urls, ",")
}

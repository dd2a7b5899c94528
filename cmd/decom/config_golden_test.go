package main

import (
	"strings"
	"testing"
)

func TestEveryConfigurationErrorShowsLineAndCaret(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key, near", "nats:\n  urll: x\n", `
decom.yaml:2:3: nats.urll: unknown key, did you mean url?
  2 |   urll: x
    |   ^`},
		{"unknown key, nothing near", "colour: red\n", `
decom.yaml:1:1: colour: unknown key
  1 | colour: red
    | ^`},
		{"unknown key in an account", "accounts:\n  - name: a\n    sites: [s]\n    sitez: x\n", `
decom.yaml:4:5: accounts.0.sitez: unknown key, did you mean sites?
  4 |     sitez: x
    |     ^`},
		{"text for a number", "nats:\n  replicas: three\n", `
decom.yaml:2:13: nats.replicas: has text, wants a whole number
  2 |   replicas: three
    |             ^`},
		{"list for a text", "dir: [a]\n", `
decom.yaml:1:6: dir: has a list, wants text
  1 | dir: [a]
    |      ^`},
		{"duration without a unit", "protocol:\n  t_send: 3\n", `
decom.yaml:2:11: protocol.t_send: "3" has no unit: write 3s, 3m or 3h
  2 |   t_send: 3
    |           ^`},
		{"no duration", "protocol:\n  t_send: soon\n", `
decom.yaml:2:11: protocol.t_send: "soon" is not a duration: write it as 3s, 20m or 24h
  2 |   t_send: soon
    |           ^`},
		{"duplicate key", "dir: a\ndir: b\n", `
decom.yaml:2:1: mapping key "dir" already defined at [1:1]
  2 | dir: b
    | ^`},
		{"word", "protocol: {settle: e5}\n", `
decom.yaml:1:12: protocol.settle: "e5" is not e2, e3 or e4, did you mean e2?
  1 | protocol: {settle: e5}
    |            ^`},
		{"mode", "accounts:\n  - {name: a, sites: [s], mode: singel}\n", `
decom.yaml:2:27: accounts.0.mode: "singel" is not single, bulk, mixed or auto, did you mean single?
  2 |   - {name: a, sites: [s], mode: singel}
    |                           ^`},
		{"tolerance", "protocol:\n  repeat_tolerance: 3\n", `
decom.yaml:2:3: protocol.repeat_tolerance: 3: 0, 1 or 2
  2 |   repeat_tolerance: 3
    |   ^`},
		{"hold", "protocol:\n  t_hold_single: 4s\n", `
decom.yaml:2:3: protocol.t_hold_single: 4s: must be more than t_send + t_reuse (5s), or a late copy of a call could meet its repetition
  2 |   t_hold_single: 4s
    |   ^`},
		{"hold of an account", "accounts:\n  - name: a\n    sites: [s]\n    protocol: {t_hold_bulk: 1s}\n", `
decom.yaml:4:16: accounts.0.protocol.t_hold_bulk: 1s: must be more than t_send + t_reuse (5s), or a late copy of a call could meet its repetition
  4 |     protocol: {t_hold_bulk: 1s}
    |                ^`},
		{"endpoint", "nmvs:\n  endpoints:\n    bulk: http://nmvs.example/x\n", `
decom.yaml:3:5: nmvs.endpoints.bulk: "http://nmvs.example/x" is not an https:// address
  3 |     bulk: http://nmvs.example/x
    |     ^`},
		{"version", "nmvs: {version: 6}\n", `
decom.yaml:1:8: nmvs.version: 6: interface versions are 2 to 5
  1 | nmvs: {version: 6}
    |        ^`},
		{"password masked", "nats:\n  url: http://u:secret@h\n", `
decom.yaml:2:3: nats.url: "http://u:***@h" is not an address as nats://host:4222 or tls://host:4222
  2 |   url: http://u:***@h
    |   ^`},
		{"password with a space masked", "nats:\n  url: nats://u:sec ret@h\n", `
decom.yaml:2:3: nats.url: "nats://u:***@h" is not an address as nats://host:4222 or tls://host:4222
  2 |   url: nats://u:***@h
    |   ^`},
		{"secrets beside other keys masked", "redis: {password: \"hush, hush\", username: me, url: nowhere}\n", `
decom.yaml:1:47: redis.url: "nowhere" is not an address as redis://host:6379/0, rediss://... or unix:///path
  1 | redis: {password: ************, username: me, url: nowhere}
    |                                               ^`},
		{"redis", "redis: {url: localhost}\n", `
decom.yaml:1:9: redis.url: "localhost" is not an address as redis://host:6379/0, rediss://... or unix:///path
  1 | redis: {url: localhost}
    |         ^`},
		{"sentinel", "redis:\n  master: m\n  addrs: []\n", `
decom.yaml:2:3: redis.master: needs the Sentinels in redis.addrs
  2 |   master: m
    |   ^`},
		{"pprof for everybody", "http: {debug: \"0.0.0.0:6060\"}\n", `
decom.yaml:1:8: http.debug: "0.0.0.0:6060": pprof listens on the loopback address only
  1 | http: {debug: "0.0.0.0:6060"}
    |        ^`},
		{"traces over another protocol", "trace:\n  endpoint: 127.0.0.1:4317\n", `
decom.yaml:2:3: trace.endpoint: wants the collector's address as http://127.0.0.1:4318 or https://host/v1/traces, without a login
  2 |   endpoint: 127.0.0.1:4317
    |   ^`},
		{"more traces than scans", "trace: {endpoint: \"http://127.0.0.1:4318\", ratio: 10}\n", `
decom.yaml:1:44: trace.ratio: 10: must be 0 to 1
  1 | trace: {endpoint: "http://127.0.0.1:4318", ratio: 10}
    |                                            ^`},
		{"log", "log: {level: loud}\n", `
decom.yaml:1:7: log.level: "loud" is not debug, info, warn or error
  1 | log: {level: loud}
    |       ^`},
		{"limit", "accounts:\n  - name: a\n    sites: [s]\n    limits: {single: 5}\n", `
decom.yaml:4:14: accounts.0.limits.single: rate "5": want calls per time, for example 5/s, 6/min or 1/10s
  4 |     limits: {single: 5}
    |              ^`},
		{"batch", "accounts:\n  - name: a\n    sites: [s]\n    limits: {batch: 1001}\n", `
decom.yaml:4:14: accounts.0.limits.batch: 1001: must be 1 to 1000, the most that one ledger record holds
  4 |     limits: {batch: 1001}
    |              ^`},
		{"name", "accounts:\n  - name: a.b\n    sites: [s]\n", `
decom.yaml:2:5: accounts.0.name: "a.b" must be 1 to 64 of A-Z a-z 0-9 _ -
  2 |   - name: a.b
    |     ^`},
		{"sites missing", "accounts:\n  - name: a\n", `
decom.yaml:2:5: accounts.0.sites: is empty: an account answers for at least one site
  2 |   - name: a
    |     ^`},
		{"login names", "accounts:\n  - name: a\n    sites: [s]\n    client_login_id: FR_1\n    user_id: abc\n", `
decom.yaml:4:5: accounts.0.client_login_id: "FR_1" must be 1 to 20 of A-Z a-z 0-9 -
  4 |     client_login_id: FR_1
    |     ^
decom.yaml:5:5: accounts.0.user_id: "abc" must be 4 to 20 of A-Z a-z 0-9 -
  5 |     user_id: abc
    |     ^`},
		{"site of two accounts, name twice", "accounts:\n  - name: a\n    sites: [s, t, s]\n  - name: b\n    sites: [u, t]\n  - name: a\n    sites: [v]\n", `
decom.yaml:3:19: accounts.0.sites.2: "s" stands twice in this account
  3 |     sites: [s, t, s]
    |                   ^
decom.yaml:5:16: accounts.1.sites.1: "t" belongs to account "a" already: a site has one account
  5 |     sites: [u, t]
    |                ^
decom.yaml:6:5: accounts.2.name: "a" is accounts.0 already
  6 |   - name: a
    |     ^`},
		{"two documents", "dir: a\n---\ndir: b\n", `
decom.yaml:2:1: has several documents (---), wants one
  2 | ---
    | ^`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := load(t, needQueue, tc.text, nil, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			if e := err.(*exitError); e.code != exitConfig {
				t.Errorf("exit code %d, want %d", e.code, exitConfig)
			}
			got := strings.TrimPrefix(err.Error(), "configuration: ")
			if first, rest, _ := strings.Cut(got, "\n"); strings.HasSuffix(first, " problems") {
				got = rest
			}
			if want := strings.TrimPrefix(tc.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestBrokenYAMLShowsLineAndColumn(t *testing.T) {
	for _, text := range []string{"nats: [\n", "a: b: c\n", "\tdir: x\n", "nats:\n url: x\n  ca: y\n"} {
		_, _, err := load(t, needQueue, text, nil, nil)
		if err == nil || !strings.Contains(err.Error(), "decom.yaml:") || !strings.Contains(err.Error(), "^") {
			t.Errorf("%q: %v, want line and caret", text, err)
		}
	}
}

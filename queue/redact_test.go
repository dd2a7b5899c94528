package queue

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestRedactedShowsNoSecretOfAnAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nats://127.0.0.1:4222":                        "nats://127.0.0.1:4222",
		"nats://me:hush@a:4222":                        "nats://me:***@a:4222",
		"nats://token@a:4222":                          "nats://***@a:4222",
		"me:hush@a:4222":                               "me:***@a:4222",
		"nats://me:hu@sh@a:4222":                       "nats://me:***@a:4222",
		"nats://me:pa%ss wd@a":                         "nats://me:***@a",
		"nats://a:1,tls://me:hush@b:2, nats://token@c": "nats://a:1,tls://me:***@b:2, nats://***@c",
		"": "",
	} {
		if got := redacted(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestAFailedConnectDoesNotShowThePassword(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, url := range []string{"nats://me:hush@" + addr, "nats://hush@" + addr, "nats://me:hush@" + addr + ",nats://me:hush@" + addr} {
		_, err := Connect(t.Context(), Config{URL: url})
		if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), addr) {
			t.Errorf("want the address without its secret: %v", err)
		}
	}
}

// Whoever closes a connection must not be told that it is down, as if something had failed.
func TestCloseIsNotReportedAsAFailure(t *testing.T) {
	t.Parallel()
	states := make(chan State, 8) // more than a close could bring
	c, err := Connect(t.Context(), Config{Dir: t.TempDir(), OnState: func(s State) { states <- s }})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case s := <-states:
		t.Errorf("told %+v after Close", s)
	case <-time.After(300 * time.Millisecond): // the client calls its handlers from a goroutine of its own
	}
}

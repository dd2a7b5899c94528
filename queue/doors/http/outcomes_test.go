package httpdoor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	httpdoor "decom/queue/doors/http"
)

// put stores an outcome as a worker would.
func (b *bench) put(site, device, id string) {
	b.t.Helper()
	body := fmt.Sprintf(`{"v":1,"event_id":%q,"site":%q,"device":%q,"result":"done"}`, id, site, device)
	if _, err := b.broker.Conn().PublishOutcome(b.t.Context(), site, device, id, "a/1/0", []byte(body)); err != nil {
		b.t.Fatal(err)
	}
}

// events reads n events of a stream of outcomes: their ids, and "beat" for a sign of life.
func (b *bench) events(who, path, last string, n int) (ids, seqs []string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", b.url+path, nil)
	req.Header.Set("Authorization", "Bearer "+b.token[who])
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	seq := ""
	for sc := bufio.NewScanner(resp.Body); len(ids) < n && sc.Scan(); {
		switch name, value, _ := strings.Cut(sc.Text(), ": "); name {
		case "id":
			seq = value
		case "":
			if value == "still here" {
				ids = append(ids, "beat")
			}
		case "data":
			var o struct {
				ID string `json:"event_id"`
			}
			if err := json.Unmarshal([]byte(value), &o); err != nil {
				b.t.Fatal(err)
			}
			ids, seqs = append(ids, o.ID), append(seqs, seq)
		}
	}
	return ids, seqs
}

func TestARobotLearnsItsOutcomesAndMissesNoneWhenItComesBack(t *testing.T) {
	b := newBench(t, nil, func(c *httpdoor.Config, _ *httpdoor.Deps) { c.Beat = time.Hour })
	b.put("nord", "rowa", "old") // outcomes of a moment ago come with the stream
	b.put("nord", "desk", "other device")
	b.put("sud", "rowa", "other site")
	go func() {
		time.Sleep(100 * time.Millisecond)
		b.put("nord", "rowa", "1")
		b.put("nord", "rowa", "2")
	}()
	ids, seqs := b.events("nord/rowa", "/v1/outcomes?device=rowa", "", 3)
	if fmt.Sprint(ids) != "[old 1 2]" {
		t.Fatalf("%v", ids)
	}
	b.put("nord", "rowa", "3")
	for _, tc := range []struct{ path, last, want string }{
		{"/v1/outcomes", seqs[1], "[2 3]"},
		{"/v1/outcomes?after=" + seqs[0], "", "[1 2]"},
		{"/v1/outcomes?after=0", "", "[old 1]"},
		{"/v1/outcomes?since=2020-01-01T00:00:00Z", "", "[old 1]"},
	} {
		if ids, _ := b.events("nord/rowa", tc.path, tc.last, 2); fmt.Sprint(ids) != tc.want {
			t.Errorf("%s after %q: %v, want %s", tc.path, tc.last, ids, tc.want)
		}
	}
	if ids, _ := b.events("nord/*", "/v1/outcomes?after=0", "", 2); fmt.Sprint(ids) != "[old other device]" {
		t.Errorf("the site's token: %v", ids)
	}
}

func TestAQuietStreamShowsThatItIsUp(t *testing.T) {
	b := newBench(t, nil, nil)
	if ids, _ := b.events("nord/rowa", "/v1/outcomes", "", 2); fmt.Sprint(ids) != "[beat beat]" {
		t.Errorf("%v", ids)
	}
}

func TestOutcomesCanBeAskedForNowAndThen(t *testing.T) {
	b := newBench(t, nil, nil)
	for i := range 3 {
		b.put("nord", "rowa", fmt.Sprint(i))
	}
	var list struct {
		Outcomes []struct {
			Sequence uint64
			Outcome  struct {
				ID string `json:"event_id"`
			}
		}
		After uint64
	}
	for _, want := range []int{3, 0} {
		a := b.do("nord/rowa", "GET", fmt.Sprintf("/v1/outcomes?after=%d", list.After), "", "", "Accept", "application/json")
		list.Outcomes = nil
		if err := json.Unmarshal(a.body, &list); err != nil || len(list.Outcomes) != want || list.After != 3 {
			t.Fatalf("%v: %s", err, a.body)
		}
	}
}

func TestStreamsEndWithTheDoorAndOnlySoManyAreOpen(t *testing.T) {
	ended := make(chan struct{}, 2)
	t.Cleanup(func() { // the last one to run: the door has ended
		for range 2 {
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("a stream outlives its door")
			}
		}
	})
	b := newBench(t, nil, func(c *httpdoor.Config, _ *httpdoor.Deps) { c.Parallel = 2 })
	for range 2 {
		ready := make(chan struct{})
		go func() {
			defer func() { ended <- struct{}{} }()
			req, _ := http.NewRequest("GET", b.url+"/v1/outcomes", nil)
			req.Header.Set("Authorization", "Bearer "+b.token["nord/rowa"])
			resp, err := http.DefaultClient.Do(req)
			close(ready)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			}
		}()
		<-ready
	}
	if a := b.do("nord/rowa", "GET", "/v1/outcomes", "", ""); a.StatusCode != 429 || a.v.Code != "too_many" {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if ids, _ := b.events("nord/desk", "/v1/outcomes", "", 1); len(ids) != 1 {
		t.Errorf("another device: %v", ids)
	}
}

func TestATokenIsInAndOutWithoutARestart(t *testing.T) {
	b := newBench(t, nil, nil)
	if a := b.post("nord/rowa", "text/plain", packText); a.StatusCode != 202 {
		t.Fatal(a.Status)
	}
	secret, line, err := httpdoor.NewToken(httpdoor.Principal{Site: "nord", Device: "new"})
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
	}
	rewrite(line + "\n")
	b.token["nord/new"] = secret
	if a := b.post("nord/new", "text/plain", packText); a.StatusCode != 202 || a.v.Device != "new" {
		t.Errorf("a new token: %s: %s", a.Status, a.body)
	}
	if a := b.post("nord/rowa", "text/plain", packText); a.StatusCode != 401 {
		t.Errorf("a token that is gone: %s", a.Status)
	}
	rewrite("nonsense\n")
	if a := b.post("nord/new", "text/plain", packText); a.StatusCode != 202 {
		t.Errorf("a file that is broken took a token away: %s", a.Status)
	}
}

func TestATokensFileHoldsHashesOnlyAndEveryWrongLineIsNamed(t *testing.T) {
	_, good, _ := httpdoor.NewToken(httpdoor.Principal{Site: "s", Device: "d"})
	for _, tc := range []struct{ text, want string }{
		{"# note\n\n\ufeff" + good + "  a note\n", ""},
		{good + "\ns d\n", "line 2: wants SITE DEVICE"},
		{"s d decom_abc", "line 1: the third word must be sha256:"},
		{"s d sha256:abcd", "line 1: the third word"},
		{"s.t d " + strings.Fields(good)[2], `line 1: site "s.t"`},
		{"s d/e " + strings.Fields(good)[2] + "\nx", "line 2: wants"},
	} {
		_, err := httpdoor.ParseTokens(strings.NewReader(tc.text))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
	}
	if secret, line, _ := httpdoor.NewToken(httpdoor.Principal{Site: "s", Device: "d"}); strings.Contains(line, secret) || len(secret) < 40 {
		t.Errorf("%q %q", secret, line)
	}
}

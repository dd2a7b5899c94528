package bench

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEveryProfileSendsEveryScanInOrderAndInItsTime(t *testing.T) {
	for _, name := range Profiles() {
		c := Config{Profile: name, Packs: 1000, Duration: 10 * time.Second, Accounts: 1}.WithDefaults()
		pace, last := c.pace(), time.Duration(0)
		for i := range c.Packs {
			at := pace(i)
			if at < last || at > c.Duration {
				t.Fatalf("%s: scan %d is meant to leave at %v, the one before at %v", name, i, at, last)
			}
			last = at
		}
	}
}

func TestABurstHasTenTimesTheRateOfTheRest(t *testing.T) {
	c := Config{Profile: Burst, Packs: 28_000, Duration: 10 * time.Second}.WithDefaults()
	pace, inside, outside := c.pace(), 0, 0
	for i := range c.Packs {
		if at := pace(i); at >= 4*time.Second && at < 6*time.Second {
			inside++
		} else {
			outside++
		}
	}
	if ratio := float64(inside) / 2 / (float64(outside) / 8); ratio < 9.9 || ratio > 10.1 {
		t.Errorf("ratio %.2f, want 10 (%d inside, %d outside)", ratio, inside, outside)
	}
}

func TestKneeIsTheCheapestValueThatIsNearlyTheBest(t *testing.T) {
	for _, tt := range []struct {
		param string
		rates map[float64]float64
		want  string
	}{
		{"batch", map[float64]float64{50: 100, 100: 180, 500: 300, 1000: 310}, "500"},
		{"parallel", map[float64]float64{1: 100, 4: 90, 16: 80}, "1"},
		{"latency", map[float64]float64{0: 100, 20: 95, 100: 40}, "20"},
		{"batch", map[float64]float64{1: 0, 2: 0}, ""},
	} {
		var points []Point
		for x, rate := range tt.rates {
			points = append(points, Point{Value: number(x), X: x, Rate: rate})
		}
		if got := knee(tt.param, points); got != tt.want {
			t.Errorf("%s %v: knee %q, want %q", tt.param, tt.rates, got, tt.want)
		}
	}
}

func TestSweepsAreRead(t *testing.T) {
	s, err := ParseSweep("latency=0,20ms,100ms")
	if err != nil || len(s.Points) != 3 || s.Points[2].X != 100 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "batch", "batch=", "batch=x", "colour=1", "latency=5"} {
		if _, err := ParseSweep(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestForecast(t *testing.T) {
	for _, tt := range []struct {
		name string
		q    Question
		rate float64
		best time.Duration
	}{
		{"single", Question{Backlog: 3600, Quota: 5}, 5, 12 * time.Minute},
		{"bulk", Question{Backlog: 60_000, BulkQuota: 12, Batch: 1000}, 200, 5 * time.Minute},
		{"both, and scans go on", Question{Backlog: 10_000, Quota: 10, BulkQuota: 6, Batch: 500, Arriving: 10}, 60, 200 * time.Second},
	} {
		f, err := tt.q.Forecast()
		if err != nil || f.Rate != tt.rate || f.Best != tt.best || f.Likely <= f.Best || f.Never {
			t.Errorf("%s: %+v, %v", tt.name, f, err)
		}
	}
	if f, err := (Question{Backlog: 1, Quota: 5, Arriving: 5}).Forecast(); err != nil || !f.Never {
		t.Errorf("a backlog that grows: %+v, %v", f, err)
	}
	if _, err := (Question{}).Forecast(); err == nil || !strings.Contains(err.Error(), "quota") {
		t.Errorf("no question: %v", err)
	}
}

// samplesOf makes a benchmark text of rates.
func samplesOf(t *testing.T, rates ...string) *Samples {
	t.Helper()
	var text strings.Builder
	text.WriteString("Unit packs/s better=higher\n")
	for _, r := range rates {
		text.WriteString("BenchmarkLine/x 1 100 ns/op " + r + " packs/s 5 cpu-s/100k\n")
	}
	s, err := parseSamples("test", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCompareTellsWorseFromNoiseAndBetter(t *testing.T) {
	base := samplesOf(t, "1000", "1010", "990", "1005", "995")
	for _, tt := range []struct {
		name        string
		other       *Samples
		significant bool
		worse       bool
	}{
		{"the same", samplesOf(t, "1001", "1011", "991", "1004", "996"), false, false},
		{"slower", samplesOf(t, "800", "810", "790", "805", "795"), true, true},
		{"faster", samplesOf(t, "1200", "1210", "1190", "1205", "1195"), true, false},
		{"slower, but seen once", samplesOf(t, "800"), false, true},
	} {
		list, missing := Compare(base, tt.other)
		if len(missing) != 0 {
			t.Errorf("%s: missing %v", tt.name, missing)
		}
		for _, c := range list {
			if c.Unit == "packs/s" && (c.Significant != tt.significant || (c.Worse > 0.05) != tt.worse) {
				t.Errorf("%s: %+v", tt.name, c)
			}
		}
	}
	if _, err := parseSamples("empty", []byte("PASS\n")); err == nil {
		t.Error("a text without a benchmark was read")
	}
}

func TestResultIsFoundInAnOutcome(t *testing.T) {
	for body, want := range map[string]string{
		`{"v":1,"event_id":"x","result":"done","reason":""}`: "done", `{"result":"alert"}`: "alert", `{}`: "unreadable", `{"result":"`: "unreadable",
	} {
		if got := resultOf([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestLatencyCountsFromTheIntendedStart(t *testing.T) {
	c := Config{Profile: Steady, Packs: 10, Duration: time.Second}.WithDefaults()
	l := newLoad(&c, []string{"s"})
	l.start = time.Now()
	for _, s := range l.scans { // all outcomes came together, 2 s after the start
		l.take(s.ID, l.start.Add(2*time.Second), "done")
	}
	l.take(l.scans[0].ID, l.start.Add(3*time.Second), "done")
	lat := latencyOf(l.histogram(), "")
	if lat.Count != 10 || lat.Max < 1999 || lat.Max > 2003 || lat.Quantiles[0][1] < 1090 || lat.Quantiles[0][1] > 1110 || l.extra != 1 {
		t.Errorf("%+v, %d extra", lat, l.extra)
	}
}

func TestTheQuotaProfileIsJudgedBySegments(t *testing.T) {
	c := Config{Profile: Quota, Quota: 40, Duration: 180 * time.Second, Mode: "single"}.WithDefaults()
	m := &measure{cfg: &c}
	var all []Sample
	calls, fast := 0, 0
	for i := range 181 { // follows ten seconds late; refused calls count in both
		rate := 40
		if i >= 60 && i < 120 {
			rate = 10
		}
		if i >= 60 && i < 70 {
			fast += 30
			calls += 30
		}
		calls += rate
		all = append(all, Sample{At: Seconds(i + 1), Calls: calls, TooFast: fast})
	}
	list := m.segments(all)
	if len(list) != 3 || list[1].Quota != 10 || list[1].TooFast < 270 || list[1].TooFastSettled != 0 || list[2].Followed < 0 {
		t.Fatalf("%+v", list)
	}
	for i, s := range list {
		if s.Fill < 0.95 || s.Fill > 1.05 {
			t.Errorf("segment %d: fill %.3f", i, s.Fill)
		}
	}
}

func TestReportIsOneFileInBothLanguages(t *testing.T) {
	r := &Result{Schema: 1, Command: []string{"</script><b>"}, Rounds: []Round{{Name: "x", Results: map[string]int{"done": 1}, Peak: map[string]int64{}}},
		Notes: []string{"redis_embedded"}}
	for french, word := range map[bool]string{true: "envoyés deux fois", false: "sent twice"} {
		text, err := r.report(french)
		if err != nil {
			t.Fatal(err)
		}
		page := string(text)
		if !strings.Contains(page, word) || !strings.Contains(page, "uPlot") || strings.Contains(page, "</script><b>") {
			t.Errorf("french %v: a word is missing, or the command ended the script", french)
		}
		for _, remote := range []string{"src=", "<link", "@import"} {
			if strings.Contains(page, remote) {
				t.Errorf("the page asks for something else: %s", remote)
			}
		}
	}
}

func TestFillingInDefaultsTwiceChangesNothing(t *testing.T) {
	for _, name := range Profiles() {
		once := Config{Profile: name, Set: []string{"log.level=info"}}.WithDefaults()
		if twice := once.WithDefaults(); !reflect.DeepEqual(once, twice) {
			t.Errorf("%s: %+v, then %+v", name, once, twice)
		}
	}
}

func TestTuneStaysBelowTheQuotaAndSaysWhatLimits(t *testing.T) {
	for _, tt := range []struct {
		name        string
		r           Remote
		mode, limit string
		batch       int
	}{
		{"single is enough", Remote{Latency: 300 * time.Millisecond, Quota: 10, BulkQuota: 6, Target: 5}, "single", "target", 1},
		{"single is not, and there is nothing else", Remote{Latency: 300 * time.Millisecond, Quota: 5, Target: 50}, "single", "quota", 1},
		{"both", Remote{Latency: 300 * time.Millisecond, Quota: 5, BulkQuota: 6, Target: 40}, "auto", "target", 500},
		{"bulks alone, full", Remote{Latency: 300 * time.Millisecond, BulkQuota: 6, Target: 500}, "mixed", "quota", 1000},
		{"the machine", Remote{Quota: 10_000, Target: 9000}, "single", "cpu", 1},
	} {
		got, err := tt.r.Tune(KnownCosts())
		if err != nil || got.Mode != tt.mode || got.Limit != tt.limit || got.Limits.Batch != tt.batch {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
		if tt.r.Quota > 0 && got.Limits.Single >= tt.r.Quota {
			t.Errorf("%s: limits.single %v is not below the quota", tt.name, got.Limits.Single)
		}
		if got.Rate > tt.r.Target {
			t.Errorf("%s: more is promised than asked for", tt.name)
		}
	}
	if _, err := (Remote{}).Tune(KnownCosts()); err == nil {
		t.Error("a proposal for nothing")
	}
}

func TestAStageIsBusyAllTheTimeThatItIsMeasured(t *testing.T) {
	n := 0
	s, err := timed("count", 2, func() error { n++; return nil })
	if err != nil || s.N != 2*(n-1) || s.PerSecond < 1e6 { // an increment takes nanoseconds
		t.Errorf("%d steps, %+v, %v", n, s, err)
	}
	if _, err := timed("fails", 1, func() error { return errNoRedis }); err == nil {
		t.Error("a step that fails was measured")
	}
}

func TestABacklogThatIsOnlyCountedIsSeenAndNeverMoreThanItsScans(t *testing.T) {
	c := Config{Profile: Backlog, Packs: 10}.WithDefaults()
	l := newLoad(&c, []string{"s"})
	l.restart(time.Now().Add(-time.Hour))
	l.lastSeen = l.start
	if all, still := l.count(0); all || still < time.Hour {
		t.Errorf("nothing there: all %v, still for %v", all, still)
	}
	if all, still := l.count(4); all || still > time.Minute || l.seen() != 4 {
		t.Errorf("4 of 10: all %v, still for %v, seen %d", all, still, l.seen())
	}
	if all, _ := l.count(12); !all || l.seen() != 10 { // two outcomes too many: reading finds them
		t.Errorf("12 of 10: all %v, seen %d", all, l.seen())
	}
	if _, have, _ := l.progress(); have != 0 {
		t.Errorf("%d count as read", have)
	}
}

package ledger

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func control(kind Kind, who string, c *Control) *Record {
	return &Record{Account: "a", At: testTime, Fact: []Fact{{Kind: kind, Who: who, Why: "because", Control: c}}}
}

func TestTheNewestPauseAndTuneCountUntilAContinueOrTheirEnd(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	slow := &Control{Limits: &Limits{Single: "3/s", Parallel: 2}, Until: noon.Add(time.Hour).UnixMilli()}
	var c Controls
	at := func(now time.Time, pause, tune string) {
		t.Helper()
		p, u := c.Now(now)
		who := func(s *Standing) string {
			if s == nil {
				return ""
			}
			return s.Who
		}
		if who(p) != pause || who(u) != tune {
			t.Errorf("at %v: pause of %q, tune of %q, want %q and %q", now.Sub(noon), who(p), who(u), pause, tune)
		}
	}
	at(noon, "", "")
	c.Add(5, control(Pause, "ann", &Control{Until: noon.Add(time.Minute).UnixMilli()}))
	c.Add(8, control(Tune, "bob", slow))
	at(noon, "ann", "bob")
	at(noon.Add(time.Minute-time.Millisecond), "ann", "bob")
	at(noon.Add(time.Minute), "", "bob")
	if end := c.NextEnd(noon); !end.Equal(noon.Add(time.Minute)) {
		t.Errorf("the next end is %v", end)
	}
	at(noon.Add(time.Hour), "", "")
	if c.Add(8, control(Continue, "eve", nil)) || c.Add(3, control(Continue, "eve", nil)) {
		t.Error("a record that was taken already changed something")
	}
	if c.Add(9, &Record{Fact: []Fact{{Kind: Resume, Who: "eve"}}}) {
		t.Error("the end of a halt ended a pause")
	}
	at(noon, "ann", "bob")
	c.Add(10, control(Pause, "eve", &Control{}))
	at(noon.Add(1000*time.Hour), "eve", "")
	c.Add(11, control(Continue, "ann", nil))
	at(noon, "", "")
	if c.Seq != 11 {
		t.Errorf("it stands at %d", c.Seq)
	}
}

func TestControlsAreTheSameWhenReadBack(t *testing.T) {
	var c, again Controls
	r := control(Tune, "bob", &Control{Until: 7, Limits: &Limits{Single: "3/s", Bulk: "1/min", Parallel: 2, Batch: 9, Above: true}})
	payload, err := Encode(r, Head{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(payload, "a")
	if err != nil {
		t.Fatal(err)
	}
	c.Add(4, back)
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("%v: %+v became %+v", err, c, again)
	}
	if c.Tune == nil || *c.Tune.Limits != *r.Fact[0].Control.Limits || c.Tune.At != testTime {
		t.Errorf("the tune reads as %+v", c.Tune)
	}
}

func TestControlsTouchNoPackAndAreFolded(t *testing.T) {
	for _, kind := range []Kind{Pause, Tune, Continue} {
		states := States{idOf("S1"): {Phase: Inactive}}
		idx, err := Fold(9, control(kind, "ann", &Control{}), states)
		if err != nil || len(states) != 1 || states[idOf("S1")].Changed != 0 || idx.Halt != nil {
			t.Errorf("%s: %v, %v, %+v", kind, err, states, idx.Halt)
		}
	}
}

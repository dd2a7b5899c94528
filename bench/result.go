package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Result is everything that a run found out, with what is needed to repeat it. It is
// result.json; fields may be added, never renamed.
type Result struct {
	Schema   int               `json:"schema"` // 1
	Began    time.Time         `json:"began"`
	Took     Seconds           `json:"took_seconds"`
	Command  []string          `json:"command"`
	Commit   string            `json:"commit"`
	Versions map[string]string `json:"versions"`
	Machine  Machine           `json:"machine"`
	Config   Config            `json:"config"` // defaults filled in
	Notes    []string          `json:"notes"`  // what was not as in a hospital, or could not be had
	Rounds   []Round           `json:"rounds,omitempty"`
	Ceiling  *Ceiling          `json:"ceiling,omitempty"`
	Stages   []Stage           `json:"stages,omitempty"`
	Sweeps   []Sweep           `json:"sweeps,omitempty"`
	Side     []Side            `json:"side_by_side,omitempty"`
}

// Seconds is a duration that JSON writes as seconds.
type Seconds float64

func secondsOf(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Round is one measurement with fresh servers.
type Round struct {
	Name  string  `json:"name"`
	Packs int     `json:"packs"`
	Took  Seconds `json:"took_seconds"` // first intended start to last outcome; of a backlog, first outcome to last
	Rate  float64 `json:"packs_per_second"`
	// ToFirst is from the start of the workers to the first outcome of a backlog.
	ToFirst Seconds `json:"to_first_seconds,omitempty"`
	Latency Latency `json:"latency"`
	// CPU is CPU seconds for 100,000 packs, by process; bench itself is not in the sum.
	CPU      map[string]float64 `json:"cpu_seconds_per_100k"`
	CPUTotal float64            `json:"cpu_seconds_per_100k_total"`
	Peak     map[string]int64   `json:"peak_memory_bytes"`
	// RedisBytes are those that Redis grew by, a pack; 0 = not known.
	RedisBytes float64        `json:"redis_bytes_per_pack,omitempty"`
	Verdict    Verdict        `json:"verdict"`
	Results    map[string]int `json:"results"`  // outcomes by result
	Calls      map[string]int `json:"calls"`    // that the simulator saw, by operation code
	TooFast    int            `json:"too_fast"` // calls over its quota
	Timeline   Timeline       `json:"timeline"`
	Segments   []Segment      `json:"segments,omitempty"` // of the quota profile
}

// Latency is from the intended start of a scan to its outcome in the stream, in
// milliseconds; one histogram over all scans.
type Latency struct {
	Count     int64        `json:"count"`
	Load      string       `json:"load,omitempty"` // under which load it was taken
	P50       float64      `json:"p50_ms"`
	P90       float64      `json:"p90_ms"`
	P99       float64      `json:"p99_ms"`
	P999      float64      `json:"p999_ms"`
	Max       float64      `json:"max_ms"`
	Quantiles [][2]float64 `json:"quantiles"` // percentile, milliseconds
}

// Verdict is what must be zero.
type Verdict struct {
	Lost      int `json:"lost"`       // scans without an outcome
	SentTwice int `json:"sent_twice"` // by the simulator's ledger
	InDoubt   int `json:"in_doubt"`   // packs whose fate is not known at the end
	Extra     int `json:"extra"`      // outcomes too many
	NotDone   int `json:"not_done"`   // outcomes other than done: every pack is new and in order
	Unchanged int `json:"unchanged"`  // packs that the simulator did not change, or too many it did
}

// Good says that nothing is wrong.
func (v Verdict) Good() bool { return v == Verdict{} }

func (v Verdict) add(o Verdict) Verdict {
	return Verdict{v.Lost + o.Lost, v.SentTwice + o.SentTwice, v.InDoubt + o.InDoubt, v.Extra + o.Extra, v.NotDone + o.NotDone, v.Unchanged + o.Unchanged}
}

// Verdict sums up every round and point of the run.
func (r *Result) Verdict() (v Verdict) {
	for i := range r.Rounds {
		v = v.add(r.Rounds[i].Verdict)
	}
	for i := range r.Sweeps {
		for j := range r.Sweeps[i].Points {
			for k := range r.Sweeps[i].Points[j].Rounds {
				v = v.add(r.Sweeps[i].Points[j].Rounds[k].Verdict)
			}
		}
	}
	return v
}

// Timeline is a round over time.
type Timeline struct {
	// Bucket is the width of Done and Meant, in seconds from the round's start.
	Bucket Seconds   `json:"bucket_seconds"`
	Done   []float64 `json:"done"`  // outcomes a second
	Meant  []float64 `json:"meant"` // scans a second that were meant to leave
	// Samples are looks from outside, oldest first.
	Samples []Sample `json:"samples"`
}

// Sample is one look at everything.
type Sample struct {
	At       Seconds           `json:"t"`
	Sent     int               `json:"sent"`    // scans published
	Have     int               `json:"have"`    // outcomes
	Calls    int               `json:"calls"`   // that the simulator saw so far
	Changed  int               `json:"changed"` // packs that the simulator changed so far
	TooFast  int               `json:"too_fast"`
	Quota    float64           `json:"quota"`    // packs a second that the simulator allows now; 0 = no limit
	Limit    float64           `json:"limit"`    // calls a second that the workers' limiters allow now, single
	InDoubt  int               `json:"in_doubt"` // as the workers say
	InFlight int               `json:"in_flight"`
	Breakers map[string][2]int `json:"breakers,omitempty"` // accounts whose breaker is half-open, open; by service
}

// Segment is a stretch of the quota profile under one quota.
type Segment struct {
	From, To Seconds
	Quota    float64 // calls a second
	// Fill is accepted calls over what the quota allowed, from 30 s into the segment
	// (a minute, into the first) to its end.
	Fill float64
	// Followed is when, counted from the segment's start, five seconds' mean of the accepted
	// rate was within 10 % of the quota for the first time; negative: never.
	Followed Seconds
	// TooFast counts refused calls, TooFastSettled those in the time that Fill counts.
	TooFast, TooFastSettled int
}

// WriteFiles writes result.json, bench.txt and report.html into dir; french chooses the
// report's language.
func (r *Result) WriteFiles(dir string, french bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	page, err := r.report(french)
	if err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	for name, data := range map[string][]byte{"result.json": append(text, '\n'), "bench.txt": []byte(r.BenchText()), "report.html": page} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ReadResult reads a result.json.
func ReadResult(name string) (*Result, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if r.Schema != 1 {
		return nil, fmt.Errorf("%s: schema %d, this program reads 1", name, r.Schema)
	}
	return &r, nil
}

package consolidated

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"decom/queue"
	"decom/worker/scan"
)

// Sheet holds what a file declares against what was received and what became of it.
type Sheet struct {
	Declared int                 `json:"declared"`
	Refused  map[Reason]int      `json:"refused"`
	Waiting  int                 `json:"waiting"`
	Unsent   int                 `json:"not_shipped"`
	Held     Held                `json:"held"`
	Missing  int                 `json:"missing"`
	Opened   int                 `json:"opened"` // to be scanned one by one
	Wrong    int                 `json:"wrong"`  // to be scanned one by one
	Dropped  int                 `json:"dropped"`
	Released int                 `json:"released"`
	Scanned  map[scan.Result]int `json:"scanned"`  // outcomes of the released ones
	Pending  int                 `json:"pending"`  // released, no outcome yet
	Alone    map[scan.Result]int `json:"alone"`    // outcomes of packs that were not released, scanned by themselves
	TooMany  []Extra             `json:"too_many"` // scanned, and not as the file says
	Reasons  map[string]int      `json:"reasons"`  // result/reason of the released ones that are not done
	rows     map[int32]scan.Result
}

// Held is what was received and may not leave yet.
type Held struct {
	Expiry int `json:"expiry"`
	Sample int `json:"sample"`
}

// Outcomes is where outcomes are read: *[queue.Conn].
type Outcomes interface {
	Outcomes(ctx context.Context, f queue.OutcomeFilter, fn func(queue.StoredOutcome) error) error
}

// Sheet counts the rows and joins the outcomes of the file's site since it came.
func (s *Settled) Sheet(ctx context.Context, from Outcomes) (*Sheet, error) {
	n := s.Count()
	t := &Sheet{
		Declared: s.List.Declared(), Refused: map[Reason]int{}, Waiting: n[Waiting], Unsent: n[NotShipped],
		Held: Held{Expiry: n[HeldExpiry], Sample: n[HeldSample]}, Missing: n[Missing], Opened: n[Opened], Wrong: n[Wrong],
		Dropped: n[Gone], Released: n[Released], Scanned: map[scan.Result]int{}, Alone: map[scan.Result]int{},
		TooMany: s.Extra, Reasons: map[string]int{}, rows: map[int32]scan.Result{},
	}
	for _, r := range s.List.Refused {
		t.Refused[r.Reason]++
	}
	alone := map[packKey]scan.Result{}
	for i := range s.List.Rows {
		if s.Fate[i] != Released {
			alone[s.List.Rows[i].key()] = ""
		}
	}
	prefix := "cc-" + s.ID + "-"
	err := from.Outcomes(ctx, queue.OutcomeFilter{Site: s.Site, Since: s.AddedAt()}, func(o queue.StoredOutcome) error {
		var out scan.Outcome
		if json.Unmarshal(o.Body, &out) != nil {
			return nil // not ours to judge
		}
		if rest, ours := strings.CutPrefix(out.EventID, prefix); ours {
			row, err := strconv.ParseInt(rest, 10, 32)
			if i, known := s.byN[int32(row)]; err == nil && known && s.Fate[i] == Released {
				if _, twice := t.rows[int32(row)]; !twice {
					t.rows[int32(row)] = out.Result
					t.Scanned[out.Result]++
					if out.Result != scan.Done || out.Reason != "" {
						t.Reasons[string(out.Result)+"/"+string(out.Reason)]++
					}
				}
			}
			return nil
		}
		if out.Pack != nil && out.Op == scan.Supply {
			if key := (packKey{out.Pack.Code(), out.Pack.Serial()}); len(alone) > 0 {
				if _, ours := alone[key]; ours {
					alone[key] = out.Result
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, r := range alone {
		if r != "" {
			t.Alone[r]++
		}
	}
	t.Pending = t.Released - len(t.rows)
	return t, nil
}

// AddsUp says whether every declared pack stands in exactly one place of the sheet, and
// every released one has one outcome or waits for it.
func (t *Sheet) AddsUp() bool {
	refused, scanned := 0, 0
	for _, n := range t.Refused {
		refused += n
	}
	for _, n := range t.Scanned {
		scanned += n
	}
	placed := refused + t.Waiting + t.Unsent + t.Held.Expiry + t.Held.Sample + t.Missing + t.Opened + t.Wrong + t.Dropped + t.Released
	return placed == t.Declared && scanned+t.Pending == t.Released
}

// RefusedSum is how many rows were refused.
func (t *Sheet) RefusedSum() (n int) {
	for _, k := range t.Refused {
		n += k
	}
	return n
}

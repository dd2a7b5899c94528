package consolidated

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"decom/queue"
)

// Rules are what the sender's settings say.
type Rules struct {
	// Expiry says how a full date is sent: "hold" (default) until a pack of that product
	// and batch was scanned, "exact" as it is, "month_end" as day 00 where it is the last
	// of its month.
	Expiry string `json:"expiry,omitempty"`
	// Sample is how many packs of a file must have been scanned and found listed before
	// anything of it leaves. Default 0.
	Sample int `json:"sample,omitempty"`
}

// Added is a document's first note: what the file was.
type Added struct {
	Name       string   `json:"name"` // of the file, without its folder
	Format     string   `json:"format"`
	Site       string   `json:"site"`
	Device     string   `json:"device"`
	Sender     string   `json:"sender"`
	Part       string   `json:"part"` // name of its rows' part
	Chunks     int      `json:"chunks"`
	Boxes      int      `json:"boxes"`
	Digest     string   `json:"digest"`
	Rows       int      `json:"rows"`
	Refused    int      `json:"refused"`
	Containers int      `json:"containers"`
	Ignored    int      `json:"ignored,omitempty"`
	Deliveries []string `json:"deliveries,omitempty"`
}

// Sample is what scanning packs of a file showed.
type Sample struct {
	Of      string  `json:"of,omitempty"` // the container that was counted whole
	OK      []int32 `json:"ok,omitempty"` // rows scanned and listed
	Wrong   []int32 `json:"wrong,omitempty"`
	Missing []int32 `json:"missing,omitempty"` // with Of: listed in it and not scanned
	Extra   []Extra `json:"extra,omitempty"`
	Dates   []Date  `json:"dates,omitempty"`
}

// Extra is a pack that was scanned and is not as the file says.
type Extra struct {
	Code   string `json:"code"`
	Serial string `json:"serial"`
	Batch  string `json:"batch"`
	Expiry string `json:"expiry"`
	Reason string `json:"reason"` // not_listed, elsewhere, batch, expiry
}

// Date is how the packs of a product and batch print a full date of the file.
type Date struct {
	Code    string `json:"code"`
	Batch   string `json:"batch"`
	Full    string `json:"full"`
	Printed string `json:"printed"`
}

// The kinds of notes.
const (
	noteAdded     = "added"
	noteReceived  = "received"
	noteSampled   = "sampled"
	noteOpened    = "opened"
	noteDropped   = "dropped"
	notePublished = "published"
)

// note is the body of a log entry.
type note struct {
	Kind   string  `json:"kind"`
	Nonce  string  `json:"nonce"` // no two notes are alike
	Who    string  `json:"who,omitempty"`
	Why    string  `json:"why,omitempty"`
	Added  *Added  `json:"added,omitempty"`
	Rules  *Rules  `json:"rules,omitempty"`
	Ref    string  `json:"ref,omitempty"` // received; opened: the container
	Sample *Sample `json:"sample,omitempty"`
	Upto   uint64  `json:"upto,omitempty"` // published: everything that notes up to here let go
	Count  int     `json:"count,omitempty"`
}

// Event is one thing that happened to a file.
type Event struct {
	note
	Seq  uint64
	Time time.Time // the stream's; of a receipt it is the `at` of its events
}

// File is a document and what happened to it.
type File struct {
	ID string
	Added
	Events    []Event
	Published int    // events published
	upto      uint64 // what notes up to this one let go is published
}

// Head is the sequence of the newest note.
func (f *File) Head() uint64 { return f.Events[len(f.Events)-1].Seq }

// AddedAt is when the file came.
func (f *File) AddedAt() time.Time { return f.Events[0].Time }

// Dropped says that a person ended it.
func (f *File) Dropped() bool {
	return slices.ContainsFunc(f.Events, func(e Event) bool { return e.Kind == noteDropped })
}

// Receipts returns what was received.
func (f *File) Receipts() (all []Event) {
	for _, e := range f.Events {
		if e.Kind == noteReceived {
			all = append(all, e)
		}
	}
	return all
}

// take folds one note in.
func (f *File) take(n queue.Note) error {
	var body note
	if err := json.Unmarshal(n.Body, &body); err != nil {
		return fmt.Errorf("note %d of %s cannot be read: %w", n.Seq, n.Doc, err)
	}
	switch {
	case len(f.Events) == 0 && body.Kind != noteAdded, len(f.Events) == 0 && body.Added == nil:
		return fmt.Errorf("note %d of %s is not the first one of a file", n.Seq, n.Doc)
	case len(f.Events) == 0:
		f.ID, f.Added = n.Doc, *body.Added
	case body.Kind == notePublished:
		f.Published += body.Count
		f.upto = max(f.upto, body.Upto)
	}
	f.Events = append(f.Events, Event{note: body, Seq: n.Seq, Time: n.Time})
	return nil
}

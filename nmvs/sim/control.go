package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxControl is the largest request to the control API: stock of a big test.
const maxControl = 64 << 20

// ControlHandler serves the control API that the package comment lists. It
// has no login: serve it on a loopback address only.
func (s *Sim) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ledger", s.getLedger)
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Counts()) })
	mux.HandleFunc("GET /verdict", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Verdict()) })
	mux.HandleFunc("GET /packs/{key}", s.getPack)
	mux.HandleFunc("GET /settings", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Settings()) })
	mux.HandleFunc("PUT /settings", s.putSettings)
	mux.HandleFunc("POST /faults", s.postFaults)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]int{"cleared": s.ClearFaults()})
	})
	mux.HandleFunc("POST /stock", s.postStock)
	mux.HandleFunc("POST /unlock", s.postUnlock)
	mux.HandleFunc("GET /clock", s.getClock)
	mux.HandleFunc("POST /clock", s.postClock)
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client left: nothing to do about it
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// readJSON reads the whole body into v; unknown fields are errors, so that a
// misspelt setting is not taken for a set one.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = errors.New("something follows the JSON value")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
	}
	return err == nil
}

func (s *Sim) getLedger(w http.ResponseWriter, r *http.Request) {
	var since uint64
	if q := r.URL.Query().Get("since"); q != "" {
		var err error
		if since, err = strconv.ParseUint(q, 10, 64); err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("since: %q is not a number", q))
			return
		}
	}
	list := s.LedgerSince(since)
	if list == nil {
		list = []Entry{}
	}
	writeJSON(w, list)
}

func (s *Sim) getPack(w http.ResponseWriter, r *http.Request) {
	k, err := ParseKey(r.PathValue("key"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	p, ok := s.Pack(k)
	if !ok {
		refuse(w, http.StatusNotFound, errors.New("no such pack"))
		return
	}
	writeJSON(w, p)
}

// putSettings changes the fields that are given and leaves the others. Lists
// are replaced.
func (s *Sim) putSettings(w http.ResponseWriter, r *http.Request) {
	var patch json.RawMessage
	if !readJSON(w, r, &patch) {
		return
	}
	err := s.update(func(set *Settings) error {
		// Decoding into a list that is there would mix old elements with new ones.
		faults, windows := set.Faults, set.Maintenance.Windows
		set.Faults, set.Maintenance.Windows = nil, nil
		err := strict(patch, set)
		if set.Faults == nil {
			set.Faults = faults
		}
		if set.Maintenance.Windows == nil {
			set.Maintenance.Windows = windows
		}
		return err
	})
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, s.Settings())
}

func strict(raw json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// list reads one value or an array of them.
func list[T any](w http.ResponseWriter, r *http.Request) ([]T, bool) {
	var raw json.RawMessage
	if !readJSON(w, r, &raw) {
		return nil, false
	}
	var many []T
	var err error
	if len(raw) > 0 && raw[0] == '[' {
		err = strict(raw, &many)
	} else {
		many = make([]T, 1)
		err = strict(raw, &many[0])
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
	}
	return many, err == nil
}

func (s *Sim) postFaults(w http.ResponseWriter, r *http.Request) {
	rules, ok := list[Rule](w, r)
	if !ok {
		return
	}
	if err := s.Inject(rules...); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, map[string]int{"injected": len(rules)})
}

func (s *Sim) postStock(w http.ResponseWriter, r *http.Request) {
	stock, ok := list[Stock](w, r)
	if !ok {
		return
	}
	if err := s.AddStock(stock...); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, map[string]int{"added": len(stock)})
}

func (s *Sim) postUnlock(w http.ResponseWriter, r *http.Request) {
	var a struct {
		ClientLoginID string `json:"client_login_id"`
		UserID        string `json:"user_id"`
	}
	if !readJSON(w, r, &a) {
		return
	}
	if !s.Unlock(a.ClientLoginID, a.UserID) {
		refuse(w, http.StatusNotFound, errors.New("no such account"))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sim) getClock(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]time.Time{"now": s.Now()})
}

func (s *Sim) postClock(w http.ResponseWriter, r *http.Request) {
	var c struct {
		Advance Duration `json:"advance"`
	}
	if !readJSON(w, r, &c) {
		return
	}
	if c.Advance < 0 {
		refuse(w, http.StatusBadRequest, errors.New("advance: the clock only goes forward"))
		return
	}
	s.Advance(time.Duration(c.Advance))
	s.getClock(w, r)
}

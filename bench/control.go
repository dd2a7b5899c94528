package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// control is the simulator's control interface, seen from the harness.
type control struct{ url string }

var controlClient = &http.Client{Timeout: 20 * time.Second} // never changed

// counts is the simulator's tally.
type counts struct {
	Effects    map[string]int `json:"effects"`
	Calls      map[string]int `json:"calls"`
	SentTwice  int            `json:"sent_twice"`
	TooFast    int            `json:"too_fast"`
	Maintained int            `json:"maintained"`
	Bulks      int            `json:"bulks"`
	Alerts     map[string]int `json:"alerts"`
	Faults     map[string]int `json:"faults"`
}

func (c counts) changed() int { return sum(c.Effects) }
func (c counts) calls() int   { return sum(c.Calls) }

func sum(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

func (c control) counts() (counts, error) {
	var n counts
	resp, err := controlClient.Get(c.url + "/counts")
	if err != nil {
		return n, err
	}
	defer resp.Body.Close()
	return n, json.NewDecoder(resp.Body).Decode(&n)
}

// send changes the simulator while it runs.
func (c control) send(method, path, body string) error {
	req, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := controlClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return nil
}

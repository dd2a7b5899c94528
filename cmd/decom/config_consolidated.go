package main

import (
	"strconv"

	"decom/queue/doors/consolidated"
	"decom/worker/scan"
)

// ConsolidatedConfig is what decom consolidated accepts (domain.md section 8).
type ConsolidatedConfig struct {
	// Senders are those whose files are taken. Empty (default): no file is.
	Senders []SenderConfig `yaml:"senders"`
}

// SenderConfig is one supplier that sends consolidated codes.
type SenderConfig struct {
	// Name is what --sender says, 1 to 64 of A-Z a-z 0-9 _ -.
	Name string `yaml:"name"`
	// Identifiers are the sender's own (GLN, as in the file's Sender); an EPCIS file must
	// name one of them. Empty: not asked.
	Identifiers []string `yaml:"identifiers"`
	// Expiry says how a full date (2028-11-30) is sent, since it does not tell whether the
	// pack says day 00: hold (default) until a pack of the product and batch was scanned;
	// exact, as it is; month_end, as day 00 where it is the month's last.
	Expiry string `yaml:"expiry"`
	// Sample is how many packs of a file must be scanned and found listed before anything
	// of it leaves. Default 0.
	Sample int `yaml:"sample"`
}

func (k *checker) consolidated() {
	names := map[string]int{}
	for i, s := range k.c.Consolidated.Senders {
		prefix := "consolidated.senders." + strconv.Itoa(i) + "."
		first, twice := names[s.Name]
		switch {
		case !scan.ValidToken(s.Name):
			k.bad(prefix+"name", "%q must be 1 to 64 of A-Z a-z 0-9 _ -", s.Name)
		case twice:
			k.bad(prefix+"name", "%q is consolidated.senders.%d already", s.Name, first)
		}
		names[s.Name] = i
		if s.Expiry != "" {
			k.word(prefix+"expiry", s.Expiry, "hold", "exact", "month_end")
		}
		if s.Sample < 0 || s.Sample > 1000 {
			k.bad(prefix+"sample", "%d: must be 0 to 1000", s.Sample)
		}
	}
}

// sender returns the settings of a sender; nil: it is not allowed.
func (c *Config) sender(name string) *SenderConfig {
	for i := range c.Consolidated.Senders {
		if s := &c.Consolidated.Senders[i]; s.Name == name {
			return s
		}
	}
	return nil
}

// rules are a sender's settings as the door wants them.
func (c *Config) rules(sender string) (consolidated.Rules, bool) {
	s := c.sender(sender)
	if s == nil {
		return consolidated.Rules{}, false
	}
	r := consolidated.Rules{Expiry: s.Expiry, Sample: s.Sample}
	if r.Expiry == "hold" {
		r.Expiry = ""
	}
	return r, true
}

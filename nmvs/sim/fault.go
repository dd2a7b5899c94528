package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"decom/nmvs"
)

// The moments of a fault. They come in pairs, because a client must not be
// able to tell them apart.
const (
	Before = "before" // instead of the call: it has no effect
	After  = "after"  // the call is carried out, its answer suffers
	Late   = "late"   // the answer is the fault, the call is carried out Fault.Delay later
)

// The kinds of fault.
const (
	Hang      = "hang"       // no answer for Fault.For, then a reset
	Reset     = "reset"      // the connection is reset
	Cut       = "cut"        // the answer ends after Fault.At bytes, its length promised more
	HTTP      = "http"       // Fault.Status, with Fault.Code in a SOAP reply if given, else a page of text
	Code      = "code"       // a reply with Fault.Code and no pack
	SOAPFault = "soap_fault" // a SOAP fault, code Receiver, HTTP 500
	Garbled   = "garbled"    // a whole answer whose XML is broken
	WrongEcho = "wrong_echo" // the answer carries another ClientTrxId
	WrongPack = "wrong_pack" // the answer carries another serial
	Message   = "message"    // the result of a bulk is a text and no packs (nmvs-interface.md 1.9); other calls are answered as ever
	Crash     = "bulk_crash" // a bulk stops after Fault.At packs; see Fault.Then. Only submits, only After
)

// Fault is what goes wrong with one call.
type Fault struct {
	Kind  string   `json:"kind"`
	When  string   `json:"when"`            // before, after (default), late
	Delay Duration `json:"delay,omitempty"` // late: by the simulator's clock
	For   Duration `json:"for,omitempty"`   // hang: real time; 0: until the client leaves

	At         int      `json:"at,omitempty"`     // cut: bytes sent; 0: half; negative: from the end. bulk_crash: packs done
	Status     int      `json:"status,omitempty"` // http: default 500
	Code       string   `json:"code,omitempty"`   // code (default NMVS_ERROR), http
	RetryAfter Duration `json:"retry_after,omitempty"`
	// Then is what becomes of a crashed bulk: never (default): no result ever;
	// partial: a result of the packs that were done; resume: the rest is done
	// Delay later, and then the result is whole.
	Then string `json:"then,omitempty"`
}

func (f Fault) name() string {
	n := f.When
	def(&n, After)
	n += " " + f.Kind
	switch {
	case f.Kind == HTTP:
		n += fmt.Sprintf(" %d", f.status())
	case f.Kind == Code:
		n += " " + strings.TrimPrefix(f.code(), "NMVS_")
	}
	return n
}

func (f Fault) status() int {
	def(&f.Status, 500)
	return f.Status
}

func (f Fault) code() string {
	def(&f.Code, codeError)
	return f.Code
}

// Rule says on which calls a fault fires. Empty fields match everything.
type Rule struct {
	Ops     []string `json:"ops,omitempty"`     // operation codes; a ping's is SinglePackPing, BulkPing ...
	Service string   `json:"service,omitempty"` // single, bulk, mixed, support
	User    string   `json:"user,omitempty"`    // UserId
	Product string   `json:"product,omitempty"` // product code
	Serial  string   `json:"serial,omitempty"`  // any of the call's packs
	Skip    int      `json:"skip,omitempty"`    // that many matching calls pass first
	Count   int      `json:"count,omitempty"`   // fires so often; 0: once for a scripted rule, for ever in Settings.Faults
	P       float64  `json:"p,omitempty"`       // fires on this share of the matching calls; 0: on all
	Fault   Fault    `json:"fault"`
}

// Validate reports every problem at once.
func (r Rule) Validate() error {
	var errs []error
	f := r.Fault
	kinds := []string{Hang, Reset, Cut, HTTP, Code, SOAPFault, Garbled, WrongEcho, WrongPack, Message, Crash}
	if !slices.Contains(kinds, f.Kind) {
		errs = append(errs, fmt.Errorf("fault.kind: %q is not one of %q", f.Kind, kinds))
	}
	if !slices.Contains([]string{"", Before, After, Late}, f.When) {
		errs = append(errs, fmt.Errorf("fault.when: %q is not before, after or late", f.When))
	}
	if f.When == Late && f.Delay <= 0 {
		errs = append(errs, errors.New("fault.delay: a late call needs one"))
	}
	if f.Kind == Crash && f.When != "" && f.When != After {
		errs = append(errs, errors.New("fault.when: a bulk_crash is always after"))
	}
	if f.Kind == Crash && !slices.Contains([]string{"", "never", "partial", "resume"}, f.Then) {
		errs = append(errs, fmt.Errorf("fault.then: %q is not never, partial or resume", f.Then))
	}
	if f.Status != 0 && (f.Status < 300 || f.Status > 599) {
		errs = append(errs, fmt.Errorf("fault.status: %d is not 300 to 599", f.Status))
	}
	if r.Service != "" {
		if _, ok := nmvs.ParseService(r.Service); !ok {
			errs = append(errs, fmt.Errorf("service: %q is not a service", r.Service))
		}
	}
	if r.P < 0 || r.P > 1 {
		errs = append(errs, fmt.Errorf("p: %v is not between 0 and 1", r.P))
	}
	if r.Skip < 0 || r.Count < 0 {
		errs = append(errs, errors.New("skip, count: must not be negative"))
	}
	return errors.Join(errs...)
}

// armed is a rule with its counters. Guarded by Sim.mu.
type armed struct {
	Rule
	skipped int
	left    int // -1: for ever
}

// Inject scripts faults for calls to come. Rules are tried in the order in
// which they were injected, before Settings.Faults.
func (s *Sim) Inject(rules ...Rule) error {
	for i, r := range rules {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("sim: rule %d: %w", i, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rules {
		s.scripted = append(s.scripted, &armed{Rule: r, left: max(r.Count, 1)})
	}
	return nil
}

// ClearFaults forgets the scripted faults that did not fire yet, and returns
// how many rules that were.
func (s *Sim) ClearFaults() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.scripted)
	s.scripted = nil
	return n
}

// pickFault returns the fault of one call, nil for none.
func (s *Sim) pickFault(q *request) *Fault {
	if len(s.scripted)+len(s.standing) == 0 || q.op == nil {
		return nil
	}
	for i, a := range s.scripted {
		if s.fires(a, q) {
			if a.left == 0 {
				s.scripted = slices.Delete(s.scripted, i, i+1)
			}
			return &a.Fault
		}
	}
	for _, a := range s.standing {
		if s.fires(a, q) {
			return &a.Fault
		}
	}
	return nil
}

func (s *Sim) fires(a *armed, q *request) bool {
	if a.left == 0 || !a.matches(q) {
		return false
	}
	if a.skipped < a.Skip {
		a.skipped++
		return false
	}
	if a.P > 0 && a.P < 1 && s.faults.Float64() >= a.P {
		return false
	}
	if a.left > 0 {
		a.left--
	}
	return true
}

func (r *Rule) matches(q *request) bool {
	switch {
	case len(r.Ops) > 0 && !slices.Contains(r.Ops, q.op.Code),
		r.Service != "" && q.op.Service.String() != r.Service,
		r.User != "" && string(q.user) != r.User,
		r.Fault.Kind == Crash && !q.op.submit:
		return false
	}
	if r.Product == "" && r.Serial == "" {
		return true
	}
	for _, sn := range q.serials {
		if r.names(q.product.code, sn) {
			return true
		}
	}
	for i := range q.items {
		if r.names(q.items[i].product.code, q.items[i].serial) {
			return true
		}
	}
	return false
}

func (r *Rule) names(code, serial []byte) bool {
	return (r.Product == "" || r.Product == string(code)) && (r.Serial == "" || r.Serial == string(serial))
}

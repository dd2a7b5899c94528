package sim

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"decom/nmvs"
)

// account is one user's state. Guarded by Sim.mu.
type account struct {
	Account
	client   *client
	old      string // former password
	oldUntil time.Time
	history  []string
	failures int
	locked   bool
	terms    int // version accepted
	calls    window
	submits  window
}

// client is what the users of one ClientLoginId share.
type client struct {
	used map[string]struct{} // ClientTrxIds
}

func (s *Sim) addAccount(a Account, now time.Time) {
	if a.PasswordSet.IsZero() {
		a.PasswordSet = now
	}
	c := s.clients[a.ClientLoginID]
	if c == nil {
		c = &client{used: map[string]struct{}{}}
		s.clients[a.ClientLoginID] = c
	}
	s.accounts[[2]string{a.ClientLoginID, a.UserID}] = &account{Account: a, client: c, terms: s.cfg.Settings.Login.TermsVersion}
}

// Unlock makes a locked account usable again, as the national organisation
// does by hand. It reports whether the account exists.
func (s *Sim) Unlock(clientLoginID, userID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[[2]string{clientLoginID, userID}]
	if a != nil {
		a.locked, a.failures = false, 0
	}
	return a != nil
}

// notice is a notification in a reply's header.
type notice struct{ code, desc string }

// login checks who calls, in the order of nmvs-interface.md 1.18: login, lock,
// password age, terms. It returns the code of a refusal, or "".
func (s *Sim) login(q *request, now time.Time) (a *account, code string, notes []notice) {
	a = s.accounts[[2]string{string(q.client), string(q.user)}]
	l := &s.set.Login
	switch {
	case a == nil && s.clients[string(q.client)] == nil:
		return nil, codeNoClient, nil
	case a == nil:
		return nil, codeBadLogin, nil
	case a.locked:
		return a, codeLocked, nil
	case l.BindCertificate && q.cert != a.UserID:
		return a, codeCertificate, nil
	}
	current := same(a.Password, q.password)
	old := !current && a.old != "" && same(a.old, q.password) && now.Before(a.oldUntil)
	if !current && !old {
		if a.failures++; a.failures >= l.LockAfter {
			a.locked = true
			return a, codeLockedNow, nil
		}
		return a, codeBadLogin, nil
	}
	a.failures = 0
	if old {
		notes = append(notes, notice{noteOldPassword, fmt.Sprintf("Old password in use. It stops working in %d days.", days(a.oldUntil.Sub(now)))})
	}
	ends := a.PasswordSet.Add(time.Duration(l.PasswordLife))
	if a.Initial || !now.Before(ends) {
		if q.op.Code != nmvs.CodePassword {
			return a, codePassword, notes
		}
	} else if ends.Sub(now) <= time.Duration(l.PasswordWarn) {
		notes = append(notes, notice{noteExpiring, fmt.Sprintf("Password expires in %d days.", days(ends.Sub(now)))})
	}
	if l.TermsVersion > a.terms {
		due := !l.TermsDeadline.IsZero() && !now.Before(l.TermsDeadline)
		if due && q.op.Service != nmvs.Support {
			return a, codeTermsDue, notes
		}
		if !due {
			text := "New terms are available."
			if !l.TermsDeadline.IsZero() {
				text = fmt.Sprintf("New terms are available. %d days to accept them.", days(l.TermsDeadline.Sub(now)))
			}
			notes = append(notes, notice{noteTerms, text})
		}
	}
	return a, "", notes
}

func same(a string, b []byte) bool { return subtle.ConstantTimeCompare([]byte(a), b) == 1 }

func days(d time.Duration) int { return int((d + 24*time.Hour - 1) / (24 * time.Hour)) }

// changePassword is G445; the header's login is checked already.
func (a *account) changePassword(q *request, now time.Time, overlap time.Duration) string {
	fresh := string(q.fresh)
	switch {
	case !same(a.Password, q.password):
		return codeNewGiven // logged in with the old one: the new one was given before
	case !same(a.Password, q.current):
		return codeBadCurrent
	case fresh == a.Password:
		return codePwSame
	case slices.Contains(a.history, fresh):
		return codePwOld
	case !goodPassword(fresh):
		return codePwPolicy
	}
	a.history = append(a.history, a.Password)
	if len(a.history) > 20 {
		a.history = a.history[1:]
	}
	a.old, a.oldUntil = a.Password, now.Add(overlap)
	if a.Initial {
		a.old = ""
	}
	a.Password, a.PasswordSet, a.Initial = fresh, now, false
	return codeSuccess
}

// acceptTerms is G483.
func (a *account) acceptTerms(version, newest int) string {
	switch {
	case newest == 0:
		return codeNoTerms
	case version != newest:
		return codeBadRequest
	case a.terms >= version:
		return codeTermsDone
	}
	a.terms = version
	return codeSuccess
}

// window counts calls in a sliding window, exactly.
type window struct {
	times []int64 // ring of the last calls that were let through
	next  int
}

// take says whether one more call may pass, and remembers it if so.
func (w *window) take(now time.Time, calls int, per time.Duration) bool {
	if len(w.times) != calls {
		w.times, w.next = make([]int64, calls), 0
	}
	t := now.UnixNano()
	if oldest := w.times[w.next]; oldest != 0 && t-oldest < int64(per) {
		return false
	}
	w.times[w.next] = t
	w.next = (w.next + 1) % calls
	return true
}

// tooFast applies the frequency limit to one call.
func (s *Sim) tooFast(a *account, op *operation, now time.Time) bool {
	l := &s.set.Limit
	switch {
	case op.submit && l.Bulks > 0:
		return !a.submits.take(now, l.Bulks, time.Duration(l.BulkWindow))
	case !op.submit && l.Calls > 0 && (op.Service == nmvs.Single || op.Service == nmvs.Support):
		return !a.calls.take(now, l.Calls, time.Duration(l.Window))
	}
	return false
}

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"

	"github.com/nats-io/nats.go"
)

// A ledger that loses its tail: servers are stopped, copied and started; later they are
// stopped and given the copy, as a restored backup or machines that lost what they had not
// written. The copy is of everything, or of DECOM_LEDGER alone: then scans, outcomes and
// every consumer remember more than the ledger.

const natsStore = "jetstream"

// everyNATS calls f for every server while all are stopped.
func (r *rig) everyNATS(f func(i int, dir string) error) error {
	for _, s := range r.nats {
		s.Kill()
	}
	var errs []error
	for i, s := range r.nats {
		errs = append(errs, f(i, s.Dir))
	}
	for _, s := range r.nats {
		s.Start()
	}
	return errors.Join(errs...)
}

// copyNATS puts the servers' stores aside.
func (r *rig) copyNATS(to string) error {
	return r.everyNATS(func(i int, dir string) error {
		return os.CopyFS(filepath.Join(to, fmt.Sprint(i)), os.DirFS(filepath.Join(dir, natsStore)))
	})
}

// restoreNATS gives the servers their stores back, or only the ledger's messages.
func (r *rig) restoreNATS(from, group string, ledgerOnly bool) error {
	parts := []string{"."}
	if ledgerOnly {
		if parts = []string{"$G/streams/DECOM_LEDGER/msgs"}; group != "" { // and the log that would bring the others back
			parts = append(parts, "$SYS/_js_/"+group)
		}
	}
	return r.everyNATS(func(i int, dir string) error {
		for _, p := range parts {
			to := filepath.Join(dir, natsStore, p)
			if err := os.RemoveAll(to); err != nil {
				return err
			}
			if err := os.CopyFS(to, os.DirFS(filepath.Join(from, fmt.Sprint(i), p))); err != nil {
				return err
			}
		}
		return nil
	})
}

// loseTail is the fault: a copy is taken when it begins and given back when it ends. What
// stood in for the robots publishes again what the restored stream may not have
// (deploy/runbook.md).
func loseTail(ledgerOnly bool) func(*rig, step) (func() error, error) {
	return func(r *rig, s step) (func() error, error) {
		old := filepath.Join(r.dir, fmt.Sprint("nats-old-", s.At))
		group := ""
		err := eventually(30*sec, func() (err error) { group, err = r.ledgerGroup(); return err })
		if err != nil {
			return nil, err
		}
		return func() error {
			if err := r.restoreNATS(old, group, ledgerOnly); err != nil {
				return err
			}
			if !ledgerOnly {
				r.mu.Lock()
				r.again = true
				r.mu.Unlock()
			}
			return nil
		}, r.copyNATS(old)
	}
}

// person resumes halted accounts after a loss until ctx ends, as the runbook says, and keeps what the
// command said.
func (r *rig) person(ctx context.Context, l *load) {
	config := r.desk()
	times := map[string]int{}
	for ctx.Err() == nil {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		again := r.again
		r.again = false
		r.mu.Unlock()
		if again { // the robots' outboxes, unchanged: same id, same at
			if err := l.publish(ctx, l.published()); err != nil {
				r.fault("the robots could not publish again: %v", err)
			}
		}
		for account, why := range r.haltedAccounts() {
			if times[account]++; times[account] > 5 {
				r.fault("STOP: %s halts again and again: %s", account, why)
				return
			}
			out, err := r.decom("resume", account, "--after-loss", "--who", "rig", "--why", "NATS came back from a copy", "--config", config, "--lang", "en")
			r.tell("resume %s (%s): %v\n%s", account, why, err, out)
		}
	}
}

// tell keeps what a person did and saw.
func (r *rig) tell(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did = append(r.did, clock(time.Now())+" "+fmt.Sprintf(format, a...))
}

// haltedAccounts are those that a process says are halted, and why.
func (r *rig) haltedAccounts() map[string]string {
	halted := map[string]string{}
	for _, w := range r.procs {
		s, err := w.status()
		if err != nil {
			continue
		}
		for _, a := range s.Accounts {
			if a.Halted {
				halted[a.Account] = a.Why
			}
		}
	}
	return halted
}

// reconciled waits until Redis knows nothing that the ledger does not hold, nothing is to be
// published again and no account is halted.
func (r *rig) reconciled(patience time.Duration) error {
	store, err := packstate.Open(r.t.Context(), r.redis.config())
	if err != nil {
		return err
	}
	defer store.Close()
	return eventually(patience, func() error {
		ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
		defer cancel()
		r.mu.Lock()
		again := r.again
		r.mu.Unlock()
		if again {
			return errors.New("the scans are not published again")
		}
		for _, a := range r.plan.accounts() {
			why, halted, err := store.Halted(ctx, a.Name)
			if err != nil || halted {
				return fmt.Errorf("%s is halted: %s, %w", a.Name, why, err)
			}
			h, ok, err := store.Head(ctx, a.Name)
			if err != nil {
				return err
			}
			if !ok || h.Seq == 0 {
				continue
			}
			if e, err := r.conn.Ledger(a.Name).Get(ctx, h.Seq); err != nil || e.Hash != h.Hash {
				return fmt.Errorf("%s: Redis knows record %v, the ledger does not: %w", a.Name, h, err)
			}
		}
		return nil
	})
}

// ledgerGroup is the name of the Raft group of DECOM_LEDGER, empty for a server alone.
func (r *rig) ledgerGroup() (string, error) {
	if !r.plan.Cluster {
		return "", nil
	}
	nc, err := nats.Connect(r.natsURL(), nats.Timeout(time.Second))
	if err != nil {
		return "", err
	}
	defer nc.Close()
	m, err := nc.Request("$JS.API.STREAM.INFO.DECOM_LEDGER", nil, 10*time.Second)
	if err != nil {
		return "", err
	}
	var v struct {
		Cluster struct {
			Group string `json:"raft_group"`
		} `json:"cluster"`
	}
	if err := json.Unmarshal(m.Data, &v); err != nil || v.Cluster.Group == "" {
		return "", fmt.Errorf("the Raft group of DECOM_LEDGER: %s, %w", m.Data, err)
	}
	return v.Cluster.Group, nil
}

// TestAClusterThatLosesItsTailTellsEveryRecord: nats-server 2.15.2 sets an outbox back whose ledger lost its tail where the
// stream has one replica, and does not where it has three: the records that come in the place of the lost ones are passed
// over. `decom setup` and each start find it, and so does a resume after loss.
func TestAClusterThatLosesItsTailTellsEveryRecord(t *testing.T) {
	if !*chaosFlag {
		t.Skip("two clusters of three nats-servers, about a minute; ask for it with -chaos")
	}
	for _, how := range []string{"setup", "resume"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			r := &rig{t: t, dir: dir, plan: plan{Cluster: true, Accounts: 1}, tap: newTap()}
			r.startNATS()
			r.connect()
			o := &outboxReader{rig: r, account: r.plan.accounts()[0].Name}
			o.put("kept")
			old := o.head
			o.want("kept")
			if err := r.copyNATS(filepath.Join(dir, "old")); err != nil {
				t.Fatal(err)
			}
			group := ""
			r.await("the ledger's Raft group is known", 40*time.Second, func() (err error) { group, err = r.ledgerGroup(); return err })
			for i := range 4 {
				o.put(fmt.Sprint("lost", i))
				o.want(fmt.Sprint("lost", i))
			}
			if err := r.restoreNATS(filepath.Join(dir, "old"), group, true); err != nil {
				t.Fatal(err)
			}
			o.head = old
			if how == "setup" {
				r.await("decom setup sets the outbox back", 40*time.Second, func() error {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					changes, err := r.conn.Setup(ctx, r.plan.accounts(), false)
					if err == nil && !strings.Contains(fmt.Sprint(changes), "lost messages") {
						err = fmt.Errorf("it changed %v", changes)
					}
					return err
				})
			}
			o.put("new0")
			if how == "resume" {
				if got, err := o.next(5 * time.Second); err == nil {
					t.Logf("nats-server set the outbox back itself: %s", got)
				}
				o.put("new1")
				if err := r.conn.ResetOutbox(t.Context(), o.account, time.Now().Add(-time.Hour)); err != nil {
					t.Fatal(err)
				}
				o.want("kept")
				o.want("new0")
				o.want("new1")
				return
			}
			o.want("new0")
		})
	}
}

// outboxReader is a ledger's writer and the reader of its outbox.
type outboxReader struct {
	*rig
	account string
	head    ledger.Head
}

// put appends a record that names itself.
func (o *outboxReader) put(name string) {
	o.t.Helper()
	b, err := ledger.Encode(&ledger.Record{Account: o.account, By: name + "#1", At: scan.Time(time.Now())}, o.head)
	if err != nil {
		o.t.Fatal(err)
	}
	o.await("append "+name, 40*time.Second, func() error {
		ctx, cancel := context.WithTimeout(o.t.Context(), 5*time.Second)
		defer cancel()
		h, err := o.conn.Ledger(o.account).Append(ctx, o.head, b)
		if err == nil {
			o.head = h
		}
		return err
	})
}

// next takes one record from the outbox and returns its name.
func (o *outboxReader) next(patience time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	rec, err := o.conn.Outbox(o.account).Next(ctx)
	if err != nil {
		return "", err
	}
	r, err := ledger.Decode(rec.Entry().Payload, o.account)
	if err == nil {
		err = rec.Ack(ctx)
	}
	if err != nil {
		return "", err
	}
	name, _, _ := strings.Cut(r.By, "#")
	return name, nil
}

// want waits for a record by name; one that was told already may come again before it.
func (o *outboxReader) want(name string) {
	o.t.Helper()
	o.await("the outbox tells "+name, 40*time.Second, func() error {
		got, err := o.next(10 * time.Second)
		if err == nil && got != name {
			err = fmt.Errorf("it told %s", got)
		}
		return err
	})
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/packstate/packstatetest"
)

// TestAnExpiredCertificateStopsItsOwnAccountOnly: of two accounts in one file, one has a
// certificate that is over. The process starts, the other account is served, status, top and
// doctor work and say it, and a new file brings the account back without a restart.
func TestAnExpiredCertificateStopsItsOwnAccountOnly(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	place := func(name string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(l.dir, name+".p12"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, l.dir, "second.new", string(b))
		if err := os.Rename(filepath.Join(l.dir, "second.new"), filepath.Join(l.dir, "second.p12")); err != nil {
			t.Fatal(err)
		}
	}
	place("expired")
	b, err := os.ReadFile(l.config())
	if err != nil {
		t.Fatal(err)
	}
	second := l.account + "-second"
	write(t, l.dir, "decom.yaml", strings.Replace(string(b), "http: {", fmt.Sprintf("  - name: %s\n    sites: [%s]\n    client_login_id: FR-LINE\n    user_id: robot01\n"+
		"    password_file: password\n    certificate: second.p12\n    passphrase_file: passphrase\n    limits: {single: 50/s}\nhttp: {", second, second), 1))
	r := l.start()
	p := l.packs(1)[0]
	scan := l.event("rowa", second+"-1", 1, p)
	delete(l.want, scan.ID)
	scan.Site = second
	l.publish([]queue.Scan{scan})
	l.supply(l.packs(5))
	l.settled(30 * time.Second)
	eventually(t, 10*time.Second, "/status says it", func() error {
		s, err := r.status()
		if err == nil && (len(s.Accounts) != 2 || !strings.Contains(s.Accounts[1].Trouble, "certificate: it expired on") || s.Accounts[0].Trouble != "") {
			err = fmt.Errorf("%+v", s.Accounts)
		}
		return err
	})
	listen := "http.listen=" + r.addr
	if s := l.decom(exitFine, "status", "--set", listen); !strings.Contains(s.stdout, "! "+second+" waits: certificate: it expired on") {
		t.Errorf("%s", s.stdout)
	}
	if s := l.decom(exitFine, "top", "--once", "--set", listen); !strings.Contains(s.stdout, "certificate: it expired on") {
		t.Errorf("%s", s.stdout)
	}
	if s := l.decom(exitConfig, "config", "check"); !strings.Contains(s.stderr, "second.p12: it expired on") {
		t.Errorf("%s", s.stderr)
	}
	if s := l.decom(exitFailure, "doctor", "--set", listen); !strings.Contains(s.stdout, "fail nmvs.certificate "+second) {
		t.Errorf("%s", s.stdout)
	}
	ready(r)
	place("client")
	eventually(t, 60*time.Second, "the account is back", func() error {
		n := 0
		err := l.conn.Outcomes(t.Context(), queue.OutcomeFilter{Site: second}, func(queue.StoredOutcome) error { n++; return nil })
		if err == nil && n != 1 {
			err = fmt.Errorf("%d outcomes", n)
		}
		return err
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"decom/worker/scan"
)

// certificateKey names the keys whose faults the certificate's own check tells better.
var certificateKey = regexp.MustCompile(`^accounts\.\d+\.(certificate|certificate_file)$`)

// configuration reads it and says whether there is one to go on with. It does not stop at
// a wrong value as other commands do: what is right can be looked at all the same.
func (d *doctor) configuration(a *app) bool {
	do := tr("corriger, puis decom config check", "repair it, then decom config check")
	c, problems, err := a.readLayers()
	if err != nil {
		d.fail("config", "", tr("%v", "%v", err), do)
		return false
	}
	decoded := len(problems) == 0
	if decoded {
		problems = c.check(needWorker)
	}
	bad := 0
	for _, p := range problems {
		if certificateKey.MatchString(p.key) && decoded {
			continue
		}
		bad++
		text := p.why
		if p.key != "" {
			text = bothf("%s: %s", p.key, text)
		}
		if p.line > 0 {
			text = bothf("%s: %s", fmt.Sprintf("%s:%d", c.src.name, p.line), text)
		}
		d.fail("config", "", tr("%[1]s", "%[2]s", text.FR, text.EN), do)
	}
	for _, w := range c.warnings {
		d.warn("config", "", tr("%[1]s", "%[2]s", w.FR, w.EN), tr("voulu ? sinon corriger", "is that meant? Else repair it"))
	}
	if bad == 0 {
		where := c.src.name
		if where == "" {
			where = "-"
		}
		d.ok("config", "", tr("%s : %d compte(s)", "%s: %d account(s)", where, len(c.Accounts)))
	}
	d.cfg = c
	return decoded
}

// local looks at this machine.
func (d *doctor) local(context.Context) {
	d.disk()
	d.files()
}

// Space below which the disk is a finding: NATS refuses every write when it is full
// (protocol.md section 11), and that comes at once for all accounts.
const (
	spaceFail = 200 << 20
	spaceWarn = 2 << 30
)

func (d *doctor) disk() {
	dir, err := filepath.Abs(d.cfg.Dir)
	if err != nil {
		dir = d.cfg.Dir
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		d.fail("dir.write", dir, tr("n'est pas un dossier", "is no folder"), tr("changer dir", "change dir"))
		return
	}
	there := dir
	for { // the folder itself is made by the first start
		if st, err := os.Stat(there); err == nil && st.IsDir() {
			break
		}
		up := filepath.Dir(there)
		if up == there {
			break
		}
		there = up
	}
	f, err := os.CreateTemp(there, ".decom-doctor-*")
	if err != nil {
		d.fail("dir.write", dir, tr("ce compte système ne peut pas y écrire : %v", "this system user cannot write there: %v", err),
			tr("donner le dossier à l'utilisateur de decom, ou changer dir", "give the folder to decom's user, or change dir"))
	} else {
		_ = f.Close()
		_ = os.Remove(f.Name())
		d.ok("dir.write", dir, tr("accessible en écriture", "can be written"))
	}
	free, err := freeSpace(there)
	switch {
	case err != nil:
		d.warn("dir.space", dir, tr("place libre inconnue : %v", "free space is not known: %v", err), tr("regarder avec df", "look with df"))
	default:
		d.space(dir, free)
	}
}

func (d *doctor) space(dir string, free uint64) {
	m := tr("%s libres", "%s free", bytesText(free))
	do := tr("faire de la place : un disque plein arrête NATS pour tous les comptes", "make room: a full disk stops NATS for all accounts")
	switch {
	case free < spaceFail:
		d.fail("dir.space", dir, m, do)
	case free < spaceWarn:
		d.warn("dir.space", dir, m, do)
	default:
		d.ok("dir.space", dir, m)
	}
}

func bytesText(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// filesOfProcess is what a process needs beside its accounts: stores, logs, HTTP, spare.
const filesOfProcess = 128

func (d *doctor) files() {
	need := uint64(filesOfProcess)
	for i := range d.cfg.Accounts {
		l := d.cfg.Accounts[i].Limits
		need += uint64(max(l.Parallel, 1) + max(l.Bulks, 1) + 2) // calls, bulks, ping and poll
	}
	have, err := openFiles()
	do := tr("LimitNOFILE= dans l'unité systemd, ou ulimit -n", "LimitNOFILE= in the systemd unit, or ulimit -n")
	m := tr("%d fichiers ouverts permis ici, il en faut environ %d", "%d open files allowed here, about %d are needed", have, need)
	switch {
	case err != nil:
		d.warn("files.limit", "", tr("limite inconnue : %v", "limit is not known: %v", err), do)
	case have < need:
		d.fail("files.limit", "", m, do)
	case have < 2*need:
		d.warn("files.limit", "", m, do)
	default:
		d.ok("files.limit", "", m)
	}
}

// worker asks the process at http.listen, if one runs.
func (d *doctor) worker(ctx context.Context) {
	s, err := askWorker(ctx, d.cfg)
	if err != nil {
		d.noWorker(ctx, err)
		return
	}
	d.ok("worker", d.cfg.HTTP.Listen, tr("%s tourne depuis %s", "%s runs since %s", s.Worker, s.Since))
	for _, acc := range s.Accounts {
		if acc.Halted {
			d.fail("worker.halt", acc.Account, tr("ARRÊTÉ : %s", "HALTED: %s", acc.HaltedWhy),
				tr("comprendre, puis decom resume %s", "find out why, then decom resume %s", acc.Account))
		}
		if acc.LedgerWaits > 0 {
			d.fail("worker.ledger", acc.Account, tr("un enregistrement attend depuis %.0f s d'être stocké", "a record has waited %.0f s to be stored", acc.LedgerWaits),
				tr("faire de la place sur le disque de NATS, puis redémarrer nats-server s'il refuse encore", "make room on NATS's disk, then restart nats-server if it still refuses"))
		}
		if lines := acc.controlLines(english); len(lines) > 0 {
			d.warn("worker.control", acc.Account, scan.Text{FR: strings.Join(acc.controlLines(french), " ; "), EN: strings.Join(lines, "; ")},
				tr("voulu ? sinon decom resume %s", "is that meant? Else decom resume %s", acc.Account))
		}
		if lines := acc.withheldLines(english); len(lines) > 0 {
			d.warn("worker.withheld", acc.Account, scan.Text{FR: strings.Join(acc.withheldLines(french), " ; "), EN: strings.Join(lines, "; ")},
				tr("lot : demander au fabricant, puis decom batch free ; lecteur : decom device calibrate, puis decom device free",
					"a batch: ask its manufacturer, then decom batch free; a device: decom device calibrate, then decom device free"))
		}
		if acc.Parked > 0 {
			d.warn("worker.review", acc.Account, tr("%d boîte(s) attendent une personne", "%d pack(s) wait for a person", acc.Parked),
				tr("decom review ls", "decom review ls"))
		}
		if acc.Trouble != "" {
			d.warn("worker.trouble", acc.Account, tr("attend : %s", "waits: %s", acc.Trouble),
				tr("voir les contrôles ci-dessous", "see the checks below"))
		}
		for _, svc := range acc.Services {
			if svc.Breaker != "closed" && svc.Breaker != "" {
				d.warn("worker.breaker", acc.Account+"/"+svc.Service, tr("disjoncteur %s depuis %s : %s", "breaker %s since %s: %s", svc.Breaker, svc.Since, svc.Cause),
					tr("voir les contrôles NMVS ci-dessous", "see the NMVS checks below"))
			}
		}
	}
}

func (d *doctor) noWorker(ctx context.Context, why error) {
	listen := d.cfg.HTTP.Listen
	if listen == "" {
		d.ok("worker", "", tr("http.listen est vide : pas demandé", "http.listen is empty: not asked"))
		return
	}
	var dialer net.Dialer
	dialer.Timeout = time.Second
	conn, err := dialer.DialContext(ctx, "tcp", listen)
	if err == nil {
		_ = conn.Close()
		d.warn("worker", listen, tr("quelque chose y répond, mais pas decom : %v", "something answers there that is not decom: %v", why),
			tr("donner un autre port à http.listen, ou libérer celui-ci", "give http.listen another port, or free this one"))
		return
	}
	d.ok("worker", listen, tr("aucun decom run n'y répond : tout est regardé sans lui", "no decom run answers there: all is looked at without it"))
}

// embedded says whether the queue lives in the worker's process, and whether that runs.
func (d *doctor) embedded() (url string, yes bool) {
	if d.cfg.NATS.URL != "" {
		return "", false
	}
	return embeddedURL(&d.cfg.Config), true
}

var errNoEmbedded = errors.New("no decom run with this dir is up")

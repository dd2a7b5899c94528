package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"decom/nmvs"
	"decom/worker/scan"
)

// endpoint is one address of NMVS and the services behind it.
type endpoint struct {
	address string // host:port
	host    string
	url     string // of one of its services
	reached bool
}

// nmvs looks at the repository: its addresses once, then each account's side of it.
func (d *doctor) nmvs(ctx context.Context) {
	d.hold()
	ends := d.endpoints()
	for i := range ends {
		d.reach(ctx, &ends[i])
	}
	roots, err := d.roots()
	if err != nil {
		d.fail("nmvs.ca", d.cfg.NMVS.CA, tr("%v", "%v", err), tr("donner l'autorité du NMVS en PEM à nmvs.ca", "give NMVS's authority in PEM to nmvs.ca"))
		return
	}
	// Accounts are looked at side by side and told in the configuration's order.
	const sideBySide = 8
	slots := make(chan struct{}, sideBySide)
	parts := make([]doctor, len(d.cfg.Accounts))
	var all sync.WaitGroup
	for i := range d.cfg.Accounts {
		acc := &d.cfg.Accounts[i]
		if len(d.flags.accounts) > 0 && !slices.Contains(d.flags.accounts, acc.Name) {
			continue
		}
		parts[i] = doctor{cfg: d.cfg, flags: d.flags}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			parts[i].account(ctx, acc, ends, roots)
		})
	}
	all.Wait()
	clock := map[string]bool{} // NMVS's clock does not depend on who asks
	for _, part := range parts {
		for _, f := range part.findings {
			if f.Check == "nmvs.clock" {
				if clock[f.On] {
					continue
				}
				clock[f.On] = true
			}
			d.add(f)
		}
	}
}

// hold says whether T_HOLD was held against NMVS's own times (protocol.md sections 1, A3, and 5). One that
// is too short is a warning of the configuration.
func (d *doctor) hold() {
	n, p := d.cfg.NMVS, d.cfg.Protocol
	if n.IdleTimeout == 0 || n.LongestCall == 0 {
		d.ok("nmvs.hold", "", tr("t_hold_single %s, t_hold_bulk %s : à comparer avec le NMVS quand nmvs.idle_timeout et nmvs.longest_call seront connus",
			"t_hold_single %s, t_hold_bulk %s: to be compared with NMVS once nmvs.idle_timeout and nmvs.longest_call are known",
			plainDuration(p.THoldSingle), plainDuration(p.THoldBulk)))
		return
	}
	shortest, least := p.THoldSingle, p.TSend
	for _, p := range append([]ProtocolConfig{p}, settings(d.cfg)...) {
		shortest, least = min(shortest, p.THoldSingle, p.THoldBulk), max(least, p.TSend)
	}
	if least += n.IdleTimeout + n.LongestCall; shortest > least {
		d.ok("nmvs.hold", "", tr("la plus courte attente, %s, dépasse ce qu'il faut au NMVS, %s", "the shortest hold, %s, is longer than what NMVS needs, %s",
			plainDuration(shortest), plainDuration(least)))
	}
}

// settings are the accounts' own protocol parameters.
func settings(c *loaded) (all []ProtocolConfig) {
	for i := range c.Accounts {
		all = append(all, c.Accounts[i].Settings(c.Protocol))
	}
	return all
}

// endpoints returns each address of the configuration once, in its services' order.
func (d *doctor) endpoints() (ends []endpoint) {
	e := d.cfg.NMVS.Endpoints
	for _, text := range []string{e.Single, e.Bulk, e.Mixed, e.Support} {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			continue // empty, or told by the configuration
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
		}
		address := net.JoinHostPort(u.Hostname(), port)
		if !slices.ContainsFunc(ends, func(e endpoint) bool { return e.address == address }) {
			ends = append(ends, endpoint{address: address, host: u.Hostname(), url: text})
		}
	}
	return ends
}

// reach finds out whether the address has a name and takes connections.
func (d *doctor) reach(ctx context.Context, e *endpoint) {
	if net.ParseIP(e.host) == nil {
		addrs, err := net.DefaultResolver.LookupHost(ctx, e.host)
		if err != nil {
			d.fail("nmvs.dns", e.host, tr("%v", "%v", err), tr("vérifier le nom dans nmvs.endpoints, et le DNS de cette machine", "check the name in nmvs.endpoints, and this machine's DNS"))
			return
		}
		d.ok("nmvs.dns", e.host, tr("%s", "%s", strings.Join(addrs, ", ")))
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	began := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", e.address)
	if err != nil {
		d.fail("nmvs.tcp", e.address, tr("%v", "%v", err), tr("ouvrir ce port dans les pare-feu de sortie ; le NMVS est peut-être arrêté", "open this port in outgoing firewalls; NMVS may be down"))
		return
	}
	_ = conn.Close()
	e.reached = true
	d.ok("nmvs.tcp", e.address, tr("connexion en %s", "connected in %s", time.Since(began).Round(100*time.Microsecond)))
}

func (d *doctor) roots() (*x509.CertPool, error) {
	if d.cfg.NMVS.CA == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(d.cfg.NMVS.CA)
	if err != nil {
		return nil, errors.New(plainFileError(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", d.cfg.NMVS.CA)
	}
	return pool, nil
}

// account makes the checks of one account.
func (d *doctor) account(ctx context.Context, acc *Account, ends []endpoint, roots *x509.CertPool) {
	cert := d.certificate(acc)
	if cert == nil {
		return
	}
	trusted := map[string]bool{}
	for _, e := range ends {
		if e.reached {
			trusted[e.address] = d.handshake(ctx, acc, e, cert, roots)
		}
	}
	cfg, err := d.cfg.clientConfig(acc)
	if err == nil {
		cfg.Software = nmvs.Software{Name: "decom", Supplier: "decom", Version: softwareVersion}
		cfg.TSingle, cfg.TBulk = 10*time.Second, 10*time.Second
		var client *nmvs.Client
		if client, err = nmvs.New(cfg); err == nil {
			defer client.Close()
			d.pings(ctx, acc, client, cfg.Endpoints, trusted)
			if d.flags.login {
				d.login(ctx, acc, client, cfg.Endpoints)
			}
			return
		}
	}
	d.fail("nmvs.client", acc.Name, tr("%v", "%v", err), tr("corriger les lignes config ci-dessus", "repair what the config lines above say"))
}

// Days before a certificate's end at which it is told; at the last one it is a fail.
const (
	certWarnDays = 30
	certSoonDays = 14
	certNowDays  = 7
	certFailDays = 1
)

// certificate checks the account's own; nil when it cannot be used.
func (d *doctor) certificate(acc *Account) *nmvs.Certificate {
	renew := tr("en demander un à France MVO et remplacer le fichier ; decom le relit seul", "ask France MVO for one and replace the file; decom reads it again by itself")
	err := (&checker{c: &loaded{Config: d.cfg.Config, src: d.cfg.src}}).usable("", acc)
	if err != nil {
		d.fail("nmvs.certificate", acc.Name, tr("%v", "%v", err), renew)
		return nil
	}
	cert, err := nmvs.LoadCertificate(acc.certConfig())
	if err != nil {
		d.fail("nmvs.certificate", acc.Name, tr("%v", "%v", err), renew)
		return nil
	}
	if _, err := cert.Current(); err != nil { // expired
		d.fail("nmvs.certificate", acc.Name, tr("%v", "%v", err), renew)
		return nil
	}
	d.expiry("nmvs.certificate", acc.Name, cert.Expiry(), renew)
	return cert
}

// expiry tells a certificate's end by how near it is.
func (d *doctor) expiry(check, on string, end time.Time, renew scan.Text) {
	days := time.Until(end).Hours() / 24
	m := tr("valable jusqu'au %s, encore %.0f jours", "valid until %s, %.0f days left", end.UTC().Format(time.DateOnly), days)
	switch {
	case days <= certFailDays:
		d.fail(check, on, tr("finit dans moins d'un jour : %s", "ends within a day: %s", scan.Time(end)), renew)
	case days <= certNowDays:
		m.FR, m.EN = "URGENT, "+m.FR, "URGENT, "+m.EN
		d.warn(check, on, m, renew)
	case days <= certSoonDays:
		m.FR, m.EN = "bientôt, "+m.FR, "soon, "+m.EN
		d.warn(check, on, m, renew)
	case days <= certWarnDays:
		d.warn(check, on, m, renew)
	default:
		d.ok(check, on, m)
	}
}

// handshake opens TLS as the client would, and asks for headers only: with TLS 1.3 a
// refused client certificate shows at the first read, and the answer tells the time.
func (d *doctor) handshake(ctx context.Context, acc *Account, e endpoint, cert *nmvs.Certificate, roots *x509.CertPool) bool {
	on := acc.Name + " " + e.address
	if strings.HasPrefix(e.url, "http://") {
		d.warn("nmvs.tls", on, tr("sans TLS : pour des essais seulement", "no TLS: for tests only"), tr("https:// en production", "https:// in production"))
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	own, err := cert.Current()
	if err != nil {
		d.fail("nmvs.tls", on, tr("%v", "%v", err), tr("voir nmvs.certificate", "see nmvs.certificate"))
		return false
	}
	dialer := tls.Dialer{Config: &tls.Config{ServerName: e.host, RootCAs: roots, Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}}
	raw, err := dialer.DialContext(ctx, "tcp", e.address)
	if err != nil {
		m, do := tlsTrouble(err)
		d.fail("nmvs.tls", on, m, do)
		return false
	}
	defer raw.Close()
	conn := raw.(*tls.Conn) // what tls.Dialer gives
	date, sent, err := askDate(ctx, conn, e.url)
	if err != nil {
		m, do := tlsTrouble(err)
		d.fail("nmvs.tls", on, m, do)
		return false
	}
	state := conn.ConnectionState()
	leaf := state.PeerCertificates[0]
	d.expiry("nmvs.tls", on, leaf.NotAfter, tr("le certificat du serveur est celui du NMVS : prévenir France MVO", "the server's certificate is NMVS's: tell France MVO"))
	if date.IsZero() {
		d.warn("nmvs.clock", e.address, tr("la réponse ne dit pas l'heure", "the answer does not tell the time"), tr("vérifier l'heure de cette machine autrement", "check this machine's time in another way"))
	} else {
		took := time.Since(sent)
		// The header has whole seconds, cut off.
		d.clock("nmvs.clock", e.address, date.Add(500*time.Millisecond).Sub(sent.Add(took/2)), took/2+500*time.Millisecond, 0)
	}
	return true
}

// askDate sends one request without a body and returns the Date of whatever answer.
func askDate(ctx context.Context, conn net.Conn, target string) (date, sent time.Time, err error) {
	deadline, _ := ctx.Deadline() // set by the caller
	if err := conn.SetDeadline(deadline); err != nil {
		return date, sent, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, target, nil)
	if err != nil {
		return date, sent, err
	}
	req.Close = true
	sent = time.Now()
	if err := req.Write(conn); err != nil {
		return date, sent, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return date, sent, err
	}
	_ = resp.Body.Close()
	date, err = http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, sent, nil
	}
	return date, sent, nil
}

// tlsTrouble says what a failed handshake means.
func tlsTrouble(err error) (message, do scan.Text) {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return tr("le certificat du serveur n'est pas signé par nmvs.ca : %v", "the server's certificate is not signed by nmvs.ca: %v", err),
			tr("nmvs.ca doit être l'autorité du NMVS ; un mandataire qui ouvre TLS est-il en route ?", "nmvs.ca must be NMVS's authority; is a proxy that opens TLS in between?")
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return tr("le certificat du serveur est pour un autre nom : %v", "the server's certificate is for another name: %v", err),
			tr("prendre dans nmvs.endpoints le nom exact que donne France MVO", "use the exact name that France MVO gives in nmvs.endpoints")
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return tr("le certificat du serveur n'est pas valable : %v", "the server's certificate is not valid: %v", e),
			tr("vérifier l'heure de cette machine, sinon prévenir France MVO", "check this machine's time, else tell France MVO")
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok || remoteTLS(err) {
		return tr("le NMVS refuse notre certificat de client : %v", "NMVS refuses our client certificate: %v", err),
			tr("est-ce celui de cet environnement et de ce compte ? sinon le redemander à France MVO", "is it this environment's and this account's? Else ask France MVO for it again")
	}
	return tr("%v", "%v", err), tr("un pare-feu ou mandataire coupe peut-être TLS sur ce port", "a firewall or proxy may cut TLS on this port")
}

// remoteTLS says whether the other side ended TLS with an alert: net.OpError names it so.
func remoteTLS(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// pings calls each service that is configured and reached. A ping carries no login.
func (d *doctor) pings(ctx context.Context, acc *Account, client *nmvs.Client, urls map[nmvs.Service]string, trusted map[string]bool) {
	for _, svc := range nmvs.Services() {
		u, err := url.Parse(urls[svc])
		if urls[svc] == "" || err != nil || !anyTrusted(trusted, u) {
			continue
		}
		on := acc.Name + "/" + svc.String()
		began := time.Now()
		_, err = client.Do(ctx, nmvs.Call{Act: nmvs.ActPing, C: nmvs.NewTrxID(), Service: svc})
		took := time.Since(began).Round(100 * time.Microsecond)
		if err != nil {
			d.fail("nmvs.ping", on, tr("%v", "%v", err),
				tr("vérifier l'adresse du service et nmvs.version ; sinon le NMVS est en panne ou en maintenance", "check the service's address and nmvs.version; else NMVS is down or in maintenance"))
			continue
		}
		d.ok("nmvs.ping", on, tr("répond en %s", "answers in %s", took))
	}
}

func anyTrusted(trusted map[string]bool, u *url.URL) bool {
	if ok, known := trusted[u.Host]; known {
		return ok
	}
	return trusted[net.JoinHostPort(u.Hostname(), "443")]
}

// login reads the terms: the one harmless call that carries a login.
func (d *doctor) login(ctx context.Context, acc *Account, client *nmvs.Client, urls map[nmvs.Service]string) {
	if urls[nmvs.Support] == "" {
		d.warn("nmvs.login", acc.Name, tr("pas essayé : nmvs.endpoints.support est vide", "not tried: nmvs.endpoints.support is empty"),
			tr("donner l'adresse du service support", "give the support service's address"))
		return
	}
	answer, err := client.Do(ctx, nmvs.Call{Act: nmvs.ActTerms, C: nmvs.NewTrxID(), Service: nmvs.Support})
	switch {
	case answer.Class == nmvs.Login && err != nil:
		d.fail("nmvs.login", acc.Name, tr("refusé : %v", "refused: %v", err),
			tr("corriger identifiant, mot de passe ou certificat AVANT tout autre essai : chaque refus compte dans le blocage (decom explain %s)",
				"correct login, password or certificate BEFORE any other try: each refusal counts towards the lock (decom explain %s)", answer.Code))
	case err != nil:
		d.fail("nmvs.login", acc.Name, tr("sans réponse utile : %v", "no useful answer: %v", err), tr("voir nmvs.ping", "see nmvs.ping"))
	default:
		d.ok("nmvs.login", acc.Name, tr("accepté", "accepted"))
	}
	for _, n := range answer.Notices {
		info, _ := nmvs.Explain(n.Code)
		d.warn("nmvs.notice", acc.Name, tr("%s (%s)", "%s (%s)", n.Desc, n.Code), info.Advice)
	}
}

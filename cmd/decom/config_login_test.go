package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/nmvs"
	"decom/nmvs/sim"

	"software.sslmate.com/src/go-pkcs12"
)

// loginDir is a folder with everything that one account needs, and the
// configuration that names it.
func loginDir(t *testing.T) (dir string, pki *sim.PKI) {
	t.Helper()
	dir = t.TempDir()
	pki, err := sim.NewPKI(dir, "robot01")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "password", "Simulator-1\r\n")
	write(t, dir, "decom.yaml", `nmvs:
  endpoints: {single: "https://127.0.0.1:1/x"}
  ca: ca.pem
accounts:
  - name: a
    sites: [s]
    client_login_id: FR-SIM-0001
    user_id: robot01
    password_file: password
    certificate: client.p12
    passphrase_file: passphrase
`)
	return dir, pki
}

// check runs config check with changes to what loginDir made.
func check(t *testing.T, dir string, set ...string) result {
	t.Helper()
	args := []string{"config", "check", "--config", filepath.Join(dir, "decom.yaml")}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return inProcess(t, nil, "", args...)
}

func TestCheckAcceptsAWholeLogin(t *testing.T) {
	dir, _ := loginDir(t)
	for name, set := range map[string][]string{
		"pkcs12": nil,
		"pem":    {"accounts.0.certificate=", "accounts.0.certificate_file=client.pem", "accounts.0.key_file=client-key.pem"},
	} {
		if r := check(t, dir, set...); r.code != 0 || !strings.HasPrefix(r.stdout, "ok: ") || r.stderr != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestCheckSaysWhatIsWrongWithALogin(t *testing.T) {
	dir, pki := loginDir(t)
	write(t, dir, "wrong", "nope\n")
	write(t, dir, "empty", "\n")
	write(t, dir, "latin1", "p\xe4ssw\xf6rd-2026\n") // as an editor of Windows saves it: NMVS would get another password
	soon, err := pki.Issue("soon", "robot01", time.Now().Add(48*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		set  []string
		want []string
	}{
		{"expired", []string{"accounts.0.certificate=expired.p12"}, []string{"expired.p12: it expired on", "--set"}},
		{"wrong passphrase", []string{"accounts.0.passphrase_file=wrong"}, []string{"the passphrase is wrong", "decom.yaml:10:5: accounts.0.certificate"}},
		{"no certificate file", []string{"accounts.0.certificate=none.p12"}, []string{"accounts.0.certificate: there is no file", "none.p12"}},
		{"not a certificate", []string{"accounts.0.certificate=ca.pem"}, []string{"not a PKCS#12 file"}},
		{"both kinds", []string{"accounts.0.key_file=client-key.pem"}, []string{"give one kind"}},
		{"another's key", []string{"accounts.0.certificate=", "accounts.0.certificate_file=client.pem", "accounts.0.key_file=foreign-key.pem"}, []string{"the key does not match the certificate"}},
		{"a server's", []string{"accounts.0.certificate=", "accounts.0.certificate_file=server.pem", "accounts.0.key_file=server-key.pem"}, []string{"not for clients"}},
		{"an authority's", []string{"accounts.0.certificate=", "accounts.0.certificate_file=ca.pem", "accounts.0.key_file=ca-key.pem"}, []string{"an authority's certificate"}},
		{"key missing", []string{"accounts.0.certificate=", "accounts.0.certificate_file=client.pem"}, []string{"accounts.0.key_file: is missing"}},
		{"ca is no certificate", []string{"nmvs.ca=password"}, []string{"nmvs.ca: ", "holds no PEM certificate"}},
		{"ca missing", []string{"nmvs.ca=none.pem"}, []string{"nmvs.ca: there is no file"}},
		{"password missing", []string{"accounts.0.password_file="}, []string{"accounts.0.password_file: is missing"}},
		{"password too short", []string{"accounts.0.password=short", "accounts.0.password_file="}, []string{"accounts.0.password: ", "8 to 60"}},
		{"password empty", []string{"accounts.0.password_file=empty"}, []string{"empty is empty"}},
		{"password in Latin-1", []string{"accounts.0.password_file=latin1"}, []string{"latin1 is not UTF-8 text: save it as UTF-8"}},
		{"password in Latin-1, from the terminal", []string{"accounts.0.password=p\xe4ssw\xf6rd-2026", "accounts.0.password_file="}, []string{"accounts.0.password: is not UTF-8 text"}},
		{"mode without endpoint", []string{"accounts.0.mode=bulk"}, []string{"accounts.0.mode: bulk needs nmvs.endpoints.bulk"}},
		{"no endpoint", []string{"nmvs.endpoints.single="}, []string{"nmvs.endpoints.single: is missing"}},
		{"several at once", []string{"accounts.0.user_id=", "accounts.0.client_login_id=", "nmvs.version=1"}, []string{"3 problems", "user_id: is missing", "client_login_id: is missing", "nmvs.version"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := check(t, dir, tc.set...)
			if r.code != exitConfig {
				t.Fatalf("code %d, want %d: %s%s", r.code, exitConfig, r.stdout, r.stderr)
			}
			for _, want := range tc.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("no %q in:\n%s", want, r.stderr)
				}
			}
		})
	}
	if r := check(t, dir, "accounts.0.certificate="+soon.P12File); r.code != 0 || !strings.Contains(r.stderr, "renew it") {
		t.Errorf("a certificate that ends in two days: %+v", r)
	}
}

func TestAccentedPassphraseOpensTheCertificate(t *testing.T) {
	dir, pki := loginDir(t)
	pair, err := pki.Client.TLS()
	if err != nil {
		t.Fatal(err)
	}
	const passphrase = "clé à molette"
	p12, err := pkcs12.Modern.Encode(pair.PrivateKey, pair.Leaf, nil, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "accent.p12", string(p12))
	write(t, dir, "accent", passphrase+"\n")
	if r := check(t, dir, "accounts.0.certificate=accent.p12", "accounts.0.passphrase_file=accent"); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

func TestInlineSecretsWarnAndContradictionsAreRefused(t *testing.T) {
	dir, _ := loginDir(t)
	name := filepath.Join(dir, "decom.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "decom.yaml", strings.Replace(string(text), "password_file: password", "password: Simulator-1", 1))
	r := check(t, dir)
	if r.code != 0 || !strings.Contains(r.stderr, "accounts.0.password stands in the configuration file") || strings.Contains(r.stderr, "Simulator-1") {
		t.Errorf("inline: %+v", r)
	}
	write(t, dir, "decom.yaml", strings.Replace(string(text), "password_file: password", "password_file: password\n    password: Simulator-1", 1))
	r = check(t, dir)
	if r.code != exitConfig || !strings.Contains(r.stderr, "accounts.0.password_file: is given beside accounts.0.password") || strings.Contains(r.stderr, "Simulator-1") {
		t.Errorf("both in the file: %+v", r)
	}
	// The environment wins over the file, in both forms.
	write(t, dir, "decom.yaml", string(text))
	for env, want := range map[string]string{"DECOM_ACCOUNTS_0_PASSWORD=Envpass-1": "Envpass-1", "DECOM_ACCOUNTS_0_PASSWORD_FILE=other": ""} {
		a := &app{environ: []string{env}, stderr: os.Stderr}
		a.flags.config = name
		write(t, dir, "other", "Otherpass-1\n")
		c, err := a.loadConfig(needWorker)
		if err != nil {
			t.Fatal(err)
		}
		acc := c.Accounts[0]
		if acc.Password != want || (acc.PasswordFile == "") != (want != "") {
			t.Errorf("%s: password %q, file %q", env, acc.Password, acc.PasswordFile)
		}
	}
}

func TestSimsConfigurationReachesTheSim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sim")
	ctx, cancel := context.WithCancel(t.Context())
	out := &syncBuffer{}
	a := &app{stdout: out, stderr: out}
	done := make(chan int)
	go func() {
		done <- execute(ctx, a, []string{"sim", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--dir", dir, "--accounts", "2"})
	}()
	defer func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("sim exits with %d: %s", code, out)
		}
		if !strings.Contains(out.String(), "1 calls") {
			t.Errorf("no sum at the end: %s", out)
		}
	}()
	for !strings.Contains(out.String(), "Ctrl-C") {
		select {
		case code := <-done:
			go func() { done <- code }()
			t.Fatalf("sim ended with %d: %s", code, out)
		case <-time.After(5 * time.Millisecond):
		}
	}
	pasted := write(t, t.TempDir(), "pasted.yaml", out.String()[:strings.Index(out.String(), "# Control")])
	for _, name := range []string{filepath.Join(dir, "decom-sim.yaml"), pasted} {
		b := &app{stderr: out}
		b.flags.config = name
		c, err := b.loadConfig(needWorker)
		if err != nil {
			t.Fatal(err)
		}
		if name == pasted {
			continue
		}
		cfg, err := c.clientConfig(&c.Accounts[1])
		if err != nil {
			t.Fatal(err)
		}
		ping(t, cfg)
	}
}

// ping calls the simulator once.
func ping(t *testing.T, cfg nmvs.Config) {
	t.Helper()
	client, err := nmvs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Do(t.Context(), nmvs.Call{Act: nmvs.ActPing, Service: nmvs.Single, C: "hello"}); err != nil {
		t.Errorf("ping: %v", err)
	}
}

// TestLookingNeedsNoCertificate: somebody who may read NATS and Redis, and not the accounts'
// secrets, can look at what the line does.
func TestLookingNeedsNoCertificate(t *testing.T) {
	dir, _ := loginDir(t)
	for _, args := range [][]string{{"status"}, {"top", "--once"}, {"pack", "03400930000007", "7X4F8L2"}} {
		for _, set := range []string{"accounts.0.certificate=none.p12", "accounts.0.password_file=none", "nmvs.ca=none.pem", "doors.http.tokens=none"} {
			r := inProcess(t, nil, "", append(args, "--config", filepath.Join(dir, "decom.yaml"), "--set", set,
				"--set", "http.listen=127.0.0.1:1", "--set", "nats.url=nats://127.0.0.1:1", "--set", "redis.url=redis://127.0.0.1:1")...)
			if r.code != exitDown { // it looked, and nothing is there
				t.Errorf("%v with %s: exit code %d: %s", args, set, r.code, r.stderr)
			}
		}
	}
}

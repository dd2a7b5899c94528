package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// load loads a configuration text with what is not tested left out.
func load(t *testing.T, need need, text string, env, set []string) (*loaded, string, error) {
	t.Helper()
	var warnings bytes.Buffer
	a := &app{stdout: io.Discard, stderr: &warnings, environ: env}
	a.flags.set = set
	if text != "" {
		t.Chdir(t.TempDir())
		a.flags.config = "decom.yaml"
		write(t, ".", "decom.yaml", text)
	}
	c, err := a.loadConfig(need)
	return c, warnings.String(), err
}

// minimal is a configuration that queue commands accept.
const minimal = `accounts:
  - name: chu
    sites: [nord, sud]
`

// sample returns a text for a key and the value it must give.
func sample(v reflect.Value) (text string, want any) {
	switch v.Interface().(type) {
	case string, *string:
		return "/x, y", "/x, y"
	case int, *int:
		return "7", 7
	case bool:
		return "true", true
	case float64:
		return "0.25", 0.25
	case time.Duration, *time.Duration:
		return "7m", 7 * time.Minute
	case []string:
		return "p,q", []string{"p", "q"}
	}
	panic(fmt.Sprintf("no sample for %s: teach it the new type", v.Type()))
}

func valueOf(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	return v.Interface()
}

// everyKey returns the keys of a configuration with two accounts.
func everyKey(t *testing.T) []leaf {
	t.Helper()
	c := defaultConfig()
	c.Accounts = make([]Account, 2)
	keys := leaves(&c)
	if len(keys) < 80 {
		t.Fatalf("only %d keys: the walk lost some", len(keys))
	}
	return keys
}

func TestEveryKeyIsReachedByEnvironmentFileAndSet(t *testing.T) {
	a := &app{}
	var paths []string
	for _, l := range everyKey(t) {
		paths = append(paths, l.path)
	}
	for _, l := range everyKey(t) {
		text, want := sample(l.value)
		file := write(t, t.TempDir(), "value", text+"\n")
		for name, layers := range map[string]struct{ env, set []string }{
			"env":            {env: []string{l.env() + "=" + text}},
			"env file":       {env: []string{l.env() + "_FILE=" + file}},
			"set":            {set: []string{l.path + "=" + text}},
			"set before env": {env: []string{l.env() + "=" + "/other"}, set: []string{l.path + "=" + text}},
		} {
			if name == "set before env" && l.value.Kind() != reflect.String {
				continue // "/other" is a text
			}
			a.environ, a.flags.set = layers.env, layers.set
			c, problems, err := a.readLayers()
			if err != nil || len(problems) > 0 {
				t.Fatalf("%s by %s: %v %v", l.path, name, err, problems)
			}
			for _, got := range leaves(&c.Config) {
				if got.path != l.path {
					continue
				}
				expect := want
				if name == "env file" && slices.Contains(paths, l.path+"_file") {
					continue // its X_FILE is that key's own variable, tried under its name
				}
				if !reflect.DeepEqual(valueOf(got.value), expect) {
					t.Errorf("%s by %s = %v, want %v", l.path, name, valueOf(got.value), expect)
				}
			}
			if len(c.warnings) > 0 {
				t.Errorf("%s by %s warns: %v", l.path, name, c.warnings)
			}
		}
	}
}

func TestVariableOfASecretFileIsItsKeyAndItsFileForm(t *testing.T) {
	file := write(t, t.TempDir(), "pw", "s3cret \n")
	c, _, err := load(t, needQueue, minimal, []string{"DECOM_NATS_USER=u", "DECOM_NATS_PASSWORD_FILE=" + file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.queueConfig()
	if err != nil || cfg.Password != "s3cret " {
		t.Errorf("password %q, %v; want the file's text less its newline only", cfg.Password, err)
	}
}

func TestLaterLayersWin(t *testing.T) {
	const file = "nats:\n  url: nats://file:1\n  replicas: 3\nhttp:\n  listen: 127.0.0.1:1\n" + minimal
	env := []string{"DECOM_NATS_URL=nats://env:1", "DECOM_HTTP_LISTEN=127.0.0.1:2", "DECOM_ACCOUNTS_0_SITES=x,y", "DECOM_ACCOUNTS_1_NAME=b", "DECOM_ACCOUNTS_1_SITES=z"}
	set := []string{"nats.url=nats://set:1", "nats.url=nats://set:2", "accounts.1.mode=single"}
	c, _, err := load(t, needQueue, file, env, set)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ key, got, want string }{
		{"default", c.Log.Level, "info"},
		{"file", fmt.Sprint(c.NATS.Replicas), "3"},
		{"env", c.HTTP.Listen, "127.0.0.1:2"},
		{"the last set", c.NATS.URL, "nats://set:2"},
		{"env list", fmt.Sprint(c.Accounts[0].Sites), "[x y]"},
		{"kept", c.Accounts[0].Name, "chu"},
		{"grown", c.Accounts[1].Name + c.Accounts[1].Mode, "bsingle"},
		{"default of an account", c.Accounts[1].Limits.Single, "5/s"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.key, tc.got, tc.want)
		}
	}
}

func TestErrorsNameTheLayerTheyComeFrom(t *testing.T) {
	for _, tc := range []struct {
		env, set []string
		want     string
	}{
		{[]string{"DECOM_NMVS_VERSION=nine"}, nil, `nmvs.version: "nine" is not a whole number (from DECOM_NMVS_VERSION)`},
		{[]string{"DECOM_NMVS_VERSION=9"}, nil, `nmvs.version: 9: interface versions are 2 to 5 (from DECOM_NMVS_VERSION)`},
		{[]string{"DECOM_PROTOCOL_T_SEND=3"}, nil, `protocol.t_send: "3" has no unit: write 3s, 3m or 3h (from DECOM_PROTOCOL_T_SEND)`},
		{[]string{"DECOM_NATS_URL_FILE=/nowhere/x"}, nil, `(from DECOM_NATS_URL_FILE)`},
		{nil, []string{"accounts.0.mode=x"}, `accounts.0.mode: "x" is not single, bulk, mixed or auto (from --set)`},
		{nil, []string{"nats.urll=x"}, `--set nats.urll: unknown key, did you mean nats.url?`},
		{nil, []string{"nats.url"}, `--set nats.url: wants key=value`},
		{nil, []string{"accounts.5000.name=x"}, `at most 1000 accounts`},
		{nil, []string{"accounts.x.name=x"}, `--set accounts.x.name: unknown key`},
	} {
		_, _, err := load(t, needQueue, minimal, tc.env, tc.set)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v %v: %v, want %s", tc.env, tc.set, err, tc.want)
		}
	}
}

func TestUnknownVariablesWarnAndDoNotFail(t *testing.T) {
	c, warnings, err := load(t, needQueue, minimal, []string{"DECOM_NATS_URLL=x", "DECOM_SERVICE_HOST=10.0.0.1", "DECOM_CONFIG_X=1", "OTHER=1"}, nil)
	if err != nil || c == nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DECOM_NATS_URLL is set, but there is no such key, did you mean DECOM_NATS_URL?", "DECOM_SERVICE_HOST", "DECOM_CONFIG_X"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning %q in:\n%s", want, warnings)
		}
	}
	if n := strings.Count(warnings, "\n"); n != 3 {
		t.Errorf("%d warnings, want 3:\n%s", n, warnings)
	}
}

func TestRelativePathsStartAtTheConfigurationFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "decom.yaml", "dir: data\nnats: {creds: \"nkey:seed\", ca: /abs/ca.pem}\n"+minimal)
	a := &app{stderr: io.Discard, environ: []string{"DECOM_CONFIG=" + filepath.Join(dir, "decom.yaml"), "DECOM_NMVS_CA=ca.pem"}}
	c, problems, err := a.readLayers()
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	for _, tc := range []struct{ got, want string }{
		{c.Dir, filepath.Join(dir, "data")}, {c.NATS.Creds, "nkey:" + filepath.Join(dir, "seed")},
		{c.NATS.CA, "/abs/ca.pem"}, {c.NMVS.CA, filepath.Join(dir, "ca.pem")},
	} {
		if tc.got != tc.want {
			t.Errorf("%s, want %s", tc.got, tc.want)
		}
	}
}

func TestOverridesNameEveryProtocolKey(t *testing.T) {
	common, own := reflect.TypeFor[ProtocolConfig](), reflect.TypeFor[ProtocolOverrides]()
	if common.NumField() != own.NumField() {
		t.Fatalf("%d keys and %d overrides", common.NumField(), own.NumField())
	}
	base := defaultConfig().Protocol
	for i := range common.NumField() {
		f, o := common.Field(i), own.Field(i)
		if keyOf(f) != keyOf(o) || o.Type != reflect.PointerTo(f.Type) {
			t.Errorf("%s and %s differ", keyOf(f), keyOf(o))
			continue
		}
		var a Account
		text, want := sample(reflect.New(f.Type).Elem())
		if err := (leaf{value: reflect.ValueOf(&a.Protocol).Elem().Field(i)}).set(text); err != nil {
			t.Fatal(err)
		}
		merged := a.Settings(base)
		got := reflect.ValueOf(&merged).Elem()
		if !reflect.DeepEqual(got.Field(i).Interface(), want) {
			t.Errorf("%s = %v, want the account's %v", keyOf(f), got.Field(i), want)
		}
		got.Field(i).Set(reflect.ValueOf(base).Field(i))
		if merged != base {
			t.Errorf("%s changes another key, too", keyOf(f))
		}
	}
}

func TestGraceIsTHTTPPlusThirtySeconds(t *testing.T) {
	p := defaultConfig().Protocol
	if got := p.Grace(p.THTTPBulk); got != 150*time.Second {
		t.Errorf("default %s, want 2m30s", got)
	}
	p.TGrace = time.Second
	if got := p.Grace(p.THTTPBulk); got != time.Second {
		t.Errorf("given %s, want 1s", got)
	}
}

func TestShowMasksEverySecretAndLoadsAgain(t *testing.T) {
	const sentinel = "hunter2"
	var set []string
	secrets := 0
	for _, l := range everyKey(t) {
		switch l.tag.Get("secret") {
		case "true":
			set = append(set, "--set", l.path+"="+sentinel)
			secrets++
		case "url":
			scheme, _, _ := strings.Cut(l.path, ".")
			set = append(set, "--set", l.path+"="+scheme+"://user:"+sentinel+"@host:1")
			secrets++
		}
	}
	if secrets < 8 {
		t.Fatalf("only %d secrets found", secrets)
	}
	set = append(set, "--set", "nats.user=u", "--set", "accounts.0.name=a", "--set", "accounts.0.sites=s", "--set", "accounts.1.name=b",
		"--set", "accounts.1.sites=t", "--set", "accounts.1.protocol.t_hold_bulk=48h", "--set", "dir=data")
	r := inProcess(t, nil, "", append([]string{"config", "show"}, set...)...)
	if r.code != 0 {
		t.Fatal(r)
	}
	if strings.Contains(r.stdout+r.stderr, sentinel) {
		t.Errorf("a secret is shown:\n%s%s", r.stdout, r.stderr)
	}
	if n := strings.Count(r.stdout, mask); n != secrets {
		t.Errorf("%d masks, want %d:\n%s", n, secrets, r.stdout)
	}
	again := write(t, t.TempDir(), "shown.yaml", r.stdout)
	if r2 := inProcess(t, nil, "", "config", "show", "--config", again); r2.stdout != r.stdout {
		t.Errorf("what is shown does not load as itself: %s\n%s", r2.stderr, r2.stdout)
	}
}

func TestExampleIsTheDefaultsAndTheContractsExample(t *testing.T) {
	c, _, err := load(t, needAccounts, exampleConfig, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	if c.Protocol != want.Protocol {
		t.Errorf("the example's protocol %+v is not the default %+v", c.Protocol, want.Protocol)
	}
	var a Account
	a.setDefaults()
	if got := c.Accounts[0]; got.Limits != a.Limits || got.Mode != a.Mode || got.ClientLoginID != "FR-CHU-0001" || !slices.Equal(got.Sites, []string{"chu-nord", "chu-sud"}) {
		t.Errorf("account %+v", got)
	}
}

func TestInitRefusesToOverwrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "d.yaml")
	if r := inProcess(t, nil, "", "config", "init", name); r.code != 0 {
		t.Fatal(r)
	}
	if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := inProcess(t, nil, "", "config", "init", name)
	if b, _ := os.ReadFile(name); r.code != exitFailure || string(b) != "mine" || !strings.Contains(r.stderr, "exists already") {
		t.Errorf("%+v, file %q", r, b)
	}
	if r := inProcess(t, nil, "", "config", "init", "-"); r.stdout != exampleConfig {
		t.Error("- does not print the example")
	}
}

func TestMergedAccountsOfAYAMLAnchorAreRead(t *testing.T) {
	const base = "accounts:\n  - &base\n    name: a\n    sites: [s]\n    mode: single\n"
	c, _, err := load(t, needQueue, base+"  - <<: *base\n    name: b\n    sites: [t]\n", nil, nil)
	if err != nil || len(c.Accounts) != 2 || c.Accounts[1].Mode != "single" || c.Accounts[1].Name != "b" {
		t.Errorf("%+v %v", c, err)
	}
	for second, want := range map[string]string{
		"  - <<: *base\n    nmae: b\n":               ":7:5: accounts.1.nmae: unknown key",
		"  - name: b\n    <<: *base\n    sites: [t]": ":7:5: accounts.1: <<: must come before the other keys",
	} {
		if _, _, err := load(t, needQueue, base+second, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", second, err, want)
		}
	}
}

// TestAHoldIsComparedWithWhatNMVSNeeds, where the configuration says it: an account's own hold, too, to the millisecond.
func TestAHoldIsComparedWithWhatNMVSNeeds(t *testing.T) {
	const single, bulk = "protocol.t_hold_single is ", "protocol.t_hold_bulk is "
	for _, tc := range []struct {
		sets []string
		says []string
	}{
		{nil, nil},
		{[]string{"nmvs.idle_timeout=10m", "nmvs.longest_call=9m56s"}, nil}, // 3 s of t_send: 19 min 59 s
		{[]string{"nmvs.idle_timeout=10m", "nmvs.longest_call=9m57s"}, []string{single}},
		{[]string{"nmvs.idle_timeout=25m"}, []string{single}},
		{[]string{"nmvs.longest_call=24h"}, []string{single, bulk}},
		{[]string{"nmvs.idle_timeout=10m", "nmvs.longest_call=5m", "accounts.0.protocol.t_hold_single=15m"}, []string{"accounts.0." + single + "15m"}},
	} {
		_, warnings, err := load(t, needQueue, minimal, nil, tc.sets)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range tc.says {
			if !strings.Contains(warnings, s) {
				t.Errorf("%v does not say %q: %s", tc.sets, s, warnings)
			}
		}
		if n := strings.Count(warnings, "nmvs.longest_call ("); n != len(tc.says) {
			t.Errorf("%v: %d warnings, want %d: %s", tc.sets, n, len(tc.says), warnings)
		}
	}
	if _, _, err := load(t, needQueue, minimal, nil, []string{"nmvs.idle_timeout=-1s"}); err == nil || !strings.Contains(err.Error(), "nmvs.idle_timeout: -1s: must not be negative") {
		t.Errorf("a negative time: %v", err)
	}
}

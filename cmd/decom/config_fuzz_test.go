package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzConfiguration: whatever stands in the file, the environment and --set, decom either
// says what is wrong, with exit code 78 and in words, or has a configuration that it prints
// without secrets and reads again as itself.
func FuzzConfiguration(f *testing.F) {
	example, err := os.ReadFile("config_example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		string(example), minimal, "", "---\n---\n", "nats: {url: 'nats://u:p@h:1,nats://h:2'}\n", "accounts: &a\n  - name: chu\n<<: *a\n",
		"accounts:\n  - &base {name: a, sites: [s], password: x}\n  - {<<: *base, name: b, sites: [t]}\n", "protocol: {t_hold_single: 20}\n", "log: {level: [info]}\n",
		"nats:\n\turl: x\n", "\ufeffdir: .\r\nhttp:\r\n  listen: ''\r\n", "a: &x [*x]\n", "accounts: [[[[[[[[[[]]]]]]]]]]\n", "dir: !!binary x\n", "? {a: b}\n: c\n",
	} {
		f.Add(text, "DECOM_NATS_URL=nats://h:1", "protocol.skew=5s")
		f.Add(text, "DECOM_ACCOUNTS_1_PASSWORD_FILE=/nowhere", "accounts.0.sites=a,b")
	}
	dir := f.TempDir()
	name := filepath.Join(dir, strconv.Itoa(os.Getpid())+".yaml")
	f.Fuzz(func(t *testing.T, text, variable, set string) {
		if strings.Contains(variable, "_FILE=") && !strings.Contains(variable, "nowhere") {
			return // reads any file of this machine, a pipe or device too
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a := &app{stdout: io.Discard, stderr: io.Discard, environ: []string{variable}}
		a.flags.config, a.flags.set = name, []string{set}
		c, problems, err := a.readLayers()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if len(problems) > 0 {
			said := (&configError{src: c.src, problems: problems}).Error()
			if strings.TrimSpace(strings.TrimPrefix(said, "configuration:")) == "" || utf8.ValidString(text+variable+set) && !utf8.ValidString(said) {
				t.Fatalf("%q, %q, %q: told as %q", text, variable, set, said)
			}
			for _, p := range problems {
				if p.why.EN == "" || p.why.FR == "" || strings.Contains(p.why.EN, "main.") || p.line > strings.Count(text, "\n")+strings.Count(text, "\r")+1 {
					t.Fatalf("%q: problem %+v", text, p)
				}
			}
			return
		}
		shown, err := c.masked().yamlText()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if err := os.WriteFile(name, []byte(shown), 0o600); err != nil {
			t.Fatal(err)
		}
		a.environ, a.flags.set = nil, nil
		c2, problems, err := a.readLayers()
		if err != nil || len(problems) > 0 {
			t.Fatalf("%q, %q, %q is shown as\n%s\nwhich is refused: %v", text, variable, set, shown, errors.Join(err, &configError{src: c2.src, problems: problems}))
		}
		if again, err := c2.masked().yamlText(); err != nil || again != shown {
			t.Fatalf("%q, %q, %q is shown as\n%s\nand then as\n%s%v", text, variable, set, shown, again, err)
		}
	})
}

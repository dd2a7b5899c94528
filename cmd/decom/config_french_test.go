package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sentences are the formats that the sources say problems of a configuration in.
func sentences(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{} // format -> where
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at := -1
			switch f := call.Fun.(type) {
			case *ast.Ident:
				if f.Name == "bothf" {
					at = 0
				}
			case *ast.SelectorExpr:
				if x, ok := f.X.(*ast.Ident); ok && x.Name == "k" {
					switch f.Sel.Name {
					case "bad":
						at = 1
					case "warn":
						at = 0
					}
				}
			}
			if at < 0 || at >= len(call.Args) {
				return true
			}
			if lit, ok := call.Args[at].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				said[text] = fset.Position(lit.Pos()).String()
			}
			return true
		})
	}
	if len(said) < 60 {
		t.Fatalf("found %d sentences: the sources are not read right", len(said))
	}
	return said
}

func TestConfigurationProblemsHaveTheirFrenchSentences(t *testing.T) {
	said := sentences(t)
	var missing []string
	verbs := regexp.MustCompile(`%[a-z]`)
	for text, where := range said {
		fr, ok := configFrench[text]
		if !ok {
			if strings.Trim(verbs.ReplaceAllString(text, ""), " :") != "" {
				missing = append(missing, fmt.Sprintf("%s: %q has no French sentence in config_french.go", where, text))
			}
			continue
		}
		if en, fr := verbs.FindAllString(text, -1), verbs.FindAllString(fr, -1); strings.Join(en, "") != strings.Join(fr, "") {
			t.Errorf("%q takes %v, its French sentence %v", text, en, fr)
		}
	}
	for text := range configFrench {
		if said[text] == "" {
			missing = append(missing, fmt.Sprintf("config_french.go has %q, which nothing says", text))
		}
	}
	// A sentence that lacks its French is said in English: told here, and a failure once it is
	// no longer the exception.
	t.Log(strings.Join(missing, "\n"))
	if len(missing) > len(said)/10 {
		t.Errorf("%d of %d sentences are not said in French", len(missing), len(said))
	}
}

func TestConfigurationProblemsAreSaidInFrench(t *testing.T) {
	dir, _ := loginDir(t)
	write(t, dir, "wrong", "nope\n")
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "nats:\n  urll: x\n", `
decom: configuration : decom.yaml:2:3: nats.urll : clé inconnue ; vouliez-vous dire url ?
  2 |   urll: x
    |   ^`},
		{"type", "nats:\n  replicas: three\n", `
decom: configuration : decom.yaml:2:13: nats.replicas : contient du texte, attend un nombre entier
  2 |   replicas: three
    |             ^`},
		{"unit", "protocol:\n  t_send: 3\n", `
decom: configuration : decom.yaml:2:11: protocol.t_send : "3" n'a pas d'unité : écrire 3s, 3m ou 3h
  2 |   t_send: 3
    |           ^`},
		{"word", "protocol: {settle: e5}\naccounts: [{name: a, sites: [s]}]\n", `
decom: configuration : decom.yaml:1:12: protocol.settle : "e5" n'est pas e2, e3 ou e4 ; vouliez-vous dire e2 ?
  1 | protocol: {settle: e5}
    |            ^`},
		{"rate, two problems", "http: {listen: nowhere}\naccounts:\n  - name: a\n    sites: [s]\n    limits: {single: 5}\n", `
decom: configuration : 2 problèmes
decom.yaml:1:8: http.listen : "nowhere" n'est pas hôte:port
  1 | http: {listen: nowhere}
    |        ^
decom.yaml:5:14: accounts.0.limits.single : cadence "5" : un nombre d'appels par durée, comme 5/s, 6/min ou 1/10s
  5 |     limits: {single: 5}
    |              ^`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, ".", "decom.yaml", tc.text)
			r := inProcess(t, []string{"LANG=fr_FR.UTF-8"}, "", "setup", "--dry-run", "--config", "decom.yaml")
			if r.code != exitConfig || strings.TrimSpace(r.stderr) != strings.TrimSpace(tc.want) {
				t.Errorf("exit code %d, got:\n%s\nwant:\n%s", r.code, r.stderr, tc.want)
			}
		})
	}
	for set, want := range map[string]string{
		"accounts.0.certificate=expired.p12": "certificat client " + filepath.Join(dir, "expired.p12") + " : il a expiré le ",
		"accounts.0.passphrase_file=wrong":   "la phrase secrète n'est pas la bonne",
		"accounts.0.certificate=none.p12":    "le fichier " + filepath.Join(dir, "none.p12") + " n'existe pas (de --set)",
		"accounts.0.limits.parallel=many":    "\"many\" n'est pas un nombre entier (de --set)",
		"protocol.t_hold_single=1":           "n'a pas d'unité",
		"natz.url=x":                         "--set natz.url : clé inconnue ; vouliez-vous dire nats.url ?",
		"accounts.0.password=Mot-de-passe-1": "", // warned about only
	} {
		r := inProcess(t, []string{"LANG=fr_FR.UTF-8"}, "", "config", "check", "--config", filepath.Join(dir, "decom.yaml"), "--set", set)
		if want == "" {
			if want = "decom: attention : accounts.0.password a été donné par --set"; r.code != exitFine || !strings.HasPrefix(r.stderr, want) {
				t.Errorf("%s: exit code %d: %s", set, r.code, r.stderr)
			}
			continue
		}
		if r.code != exitConfig || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "EXTRA") {
			t.Errorf("%s: exit code %d: %s", set, r.code, r.stderr)
		}
	}
	if r := inProcess(t, []string{"LANG=fr_FR.UTF-8"}, "", "config", "check", "--config", filepath.Join(dir, "none.yaml")); r.code != exitConfig || !strings.Contains(r.stderr, "le fichier "+filepath.Join(dir, "none.yaml")+" n'existe pas") {
		t.Errorf("no such file: exit code %d: %s", r.code, r.stderr)
	}
}

package deploy

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// helm runs helm over the chart; HELM names one that is not in PATH.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	name := os.Getenv("HELM")
	if name == "" {
		name = "helm"
	}
	tool, err := exec.LookPath(name)
	if err != nil {
		t.Skip("UNTESTED: the chart, for helm is not in PATH (HELM=FILE, or go install helm.sh/helm/v3/cmd/helm@v3.22.0)")
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	return string(out), err
}

func TestChartPassesLint(t *testing.T) {
	if out, err := helm(t, "lint", "--strict", "chart"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestChartRendersWhatAHardenedPodNeeds(t *testing.T) {
	out, err := helm(t, "template", "x", "chart", "--set", "keda.enabled=true", "--set", "serviceMonitor.enabled=true")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for want, times := range map[string]int{ // the worker's and the job's pod
		"enableServiceLinks: false": 2, "automountServiceAccountToken: false": 2, "runAsNonRoot: true": 2,
		"readOnlyRootFilesystem: true": 2, "capabilities: {drop: [ALL]}": 2,
		"kind: ScaledObject": 1, "kind: NetworkPolicy": 1, "kind: ServiceMonitor": 1, "kind: Job": 1,
		`ignoreNullValues: "true"`: 1, "listen: 0.0.0.0:8080": 1,
	} {
		if n := strings.Count(out, want); n != times {
			t.Errorf("%q stands %d times in the manifest, not %d", want, n, times)
		}
	}
	if strings.Contains(out, "nats-jetstream") {
		t.Error("KEDA's JetStream scaler goes to its maximum when the consumer is missing")
	}
	if strings.Contains(out, "\n  replicas:") {
		t.Error("the deployment sets replicas beside the scaler: they would fight")
	}
}

func TestChartScalesNoFurtherThanAccounts(t *testing.T) {
	account := func(i string) string {
		return "config.accounts[" + i + "].name=a" + i + ",config.accounts[" + i + "].sites={s" + i + "}"
	}
	for name, tt := range map[string]struct {
		set  []string
		want string
	}{
		"one account, two at rest":     {[]string{"--set", account("0")}, "maxReplicaCount: 2"},
		"three accounts":               {[]string{"--set", account("0") + "," + account("1") + "," + account("2")}, "maxReplicaCount: 3"},
		"three accounts, bound of two": {[]string{"--set", account("0") + "," + account("1") + "," + account("2"), "--set", "keda.maxReplicas=2,replicas=1"}, "maxReplicaCount: 2"},
	} {
		out, err := helm(t, append([]string{"template", "x", "chart", "--show-only", "templates/keda.yaml", "--set", "keda.enabled=true"}, tt.set...)...)
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: wants %s: %v\n%s", name, tt.want, err, out)
		}
	}
}

func TestChartRefusesValuesThatCannotBeRight(t *testing.T) {
	for name, set := range map[string]string{
		"a word that is not there": "replica=3",
		"an embedded queue":        "config.nats.url=",
		"an embedded store":        "config.redis.url=",
		"an inline password":       "config.accounts[0].name=a,config.accounts[0].sites={s},config.accounts[0].password=x",
		"no process":               "replicas=0",
		"a place of its own":       "config.dir=elsewhere",
		"no time to drain":         "terminationGracePeriodSeconds=5",
	} {
		if out, err := helm(t, "template", "x", "chart", "--set", set); err == nil || !strings.Contains(out, "schema") {
			t.Errorf("%s was taken, or refused for another reason: %v", name, out)
		}
	}
}

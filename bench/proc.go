package bench

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// cpuOf is the CPU time that each process has used, by name (Linux; empty elsewhere).
func cpuOf(pids map[string][]int) map[string]time.Duration {
	used := map[string]time.Duration{}
	for name, list := range pids {
		for _, pid := range list {
			b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
			if err != nil {
				continue
			}
			f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			used[name] += time.Duration(user+system) * (time.Second / 100) // the kernel's clock ticks in 10 ms
		}
	}
	return used
}

// peakOf is the largest memory of each process so far, in bytes; of several of one name the largest.
func peakOf(pids map[string][]int) map[string]int64 {
	peak := map[string]int64{}
	for name, list := range pids {
		for _, pid := range list {
			b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(b)) {
				if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
					kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
					peak[name] = max(peak[name], kb<<10)
				}
			}
		}
	}
	return peak
}

// Machine is where it was measured.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	// Load1 is the machine's load average of the last minute before the first round: other
	// work counts.
	Load1 float64 `json:"load1_before"`
}

func thisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Kernel: firstLine("/proc/sys/kernel/osrelease")}
	m.CPU = fieldOf("/proc/cpuinfo", "model name")
	if kb, err := strconv.ParseInt(strings.TrimSuffix(fieldOf("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = kb << 10
	}
	if f := strings.Fields(firstLine("/proc/loadavg")); len(f) > 0 {
		m.Load1, _ = strconv.ParseFloat(f[0], 64)
	}
	return m
}

func firstLine(name string) string {
	b, _ := os.ReadFile(name)
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// fieldOf reads "KEY : value" files of the kernel; empty where there is none.
func fieldOf(name, key string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// commit is what this program was built from, as far as the build says; "+" marks changes
// that were not committed.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	return rev + dirty
}

// versions of the parts that matter for speed.
func versions() map[string]string {
	v := map[string]string{"go": runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2", "github.com/redis/go-redis/v9":
			v[d.Path] = d.Version
		}
	}
	return v
}

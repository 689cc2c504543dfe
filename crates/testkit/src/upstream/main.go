// Calls upstream's CNI library as the request on standard input says, for tests and benchmarks.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

type request struct {
	Verb           string
	Dir            string // of configurations
	Name           string // of the network
	Bin            []string
	Cache          string
	ContainerID    string
	NetNS          string
	IfName         string
	Args           [][2]string
	CapabilityArgs map[string]interface{}
	Count          int               // of calls, for "time"
	Env            map[string]string // the caller's whole environment, unless it is that of the test
}

type reply struct {
	Error   string       `json:"error,omitempty"`
	Result  types.Result `json:"result,omitempty"`
	Config  []byte       `json:"config,omitempty"`
	Args    [][2]string  `json:"args,omitempty"`
	Version string       `json:"version,omitempty"`
	Plugins []string     `json:"plugins,omitempty"`
	Nanos   [][2]int64   `json:"nanos,omitempty"`
}

func main() {
	var r request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answer, err := run(&r)
	if err != nil {
		answer.Error = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(answer)
}

func run(r *request) (answer reply, err error) {
	if r.Env != nil {
		os.Clearenv()
		for key, value := range r.Env {
			if err = os.Setenv(key, value); err != nil {
				return
			}
		}
	}
	list, err := libcni.LoadConfList(r.Dir, r.Name)
	if err != nil {
		return
	}
	cni := libcni.NewCNIConfigWithCacheDir(r.Bin, r.Cache, nil)
	conf := &libcni.RuntimeConf{
		ContainerID:    r.ContainerID,
		NetNS:          r.NetNS,
		IfName:         r.IfName,
		Args:           r.Args,
		CapabilityArgs: r.CapabilityArgs,
	}
	ctx := context.Background()
	switch r.Verb {
	case "load":
		answer.Version = list.CNIVersion
		answer.Config = list.Bytes
		for _, plugin := range list.Plugins {
			answer.Plugins = append(answer.Plugins, string(plugin.Bytes))
		}
	case "add":
		answer.Result, err = cni.AddNetworkList(ctx, list, conf)
	case "check":
		err = cni.CheckNetworkList(ctx, list, conf)
	case "del":
		err = cni.DelNetworkList(ctx, list, conf)
	case "cached":
		answer.Result, err = cni.GetNetworkListCachedResult(list, conf)
		if err == nil {
			answer.Config, conf, err = cni.GetNetworkListCachedConfig(list, conf)
		}
		if err == nil && conf != nil {
			answer.Args = conf.Args
		}
	case "validate":
		_, err = cni.ValidateNetworkList(ctx, list)
	case "time":
		answer.Nanos, err = measure(ctx, cni, list, conf, r.Count)
	}
	return
}

// Returns how long each of count ADDs and DELs took.
func measure(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList, conf *libcni.RuntimeConf, count int) (nanos [][2]int64, err error) {
	for i := 0; i < count; i++ {
		start := time.Now()
		if _, err = cni.AddNetworkList(ctx, list, conf); err != nil {
			return
		}
		middle := time.Now()
		if err = cni.DelNetworkList(ctx, list, conf); err != nil {
			return
		}
		nanos = append(nanos, [2]int64{middle.Sub(start).Nanoseconds(), time.Since(middle).Nanoseconds()})
	}
	return
}

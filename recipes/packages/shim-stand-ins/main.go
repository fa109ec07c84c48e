// A stand-in for containerd's wasm shims, one program in three parts: the shim that containerd talks to, the OCI
// runtime that the shim calls, and the guest's host that runs as the container's program.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/pkg/shutdown"
	"github.com/containerd/containerd/runtime/v2/runc/manager"
	"github.com/containerd/containerd/runtime/v2/runc/options"
	"github.com/containerd/containerd/runtime/v2/runc/task"
	"github.com/containerd/containerd/runtime/v2/shim"
	api "github.com/containerd/containerd/runtime/v2/task"
	"github.com/containerd/typeurl"
	"github.com/gogo/protobuf/types"
	"golang.org/x/sys/unix"
)

func main() {
	switch {
	case len(os.Args) > 2 && os.Args[1] == "guest":
		guest(os.Args[2], os.Args[3:])
	case len(os.Args) > 1 && os.Args[1] == "--root":
		runtime()
	default:
		shim.Run("io.containerd.stand-in", newShim)
	}
}

// stands tells for which shim this program stands in.
func stands() string {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	return filepath.Base(path)
}

type standIn struct {
	api.TaskService
	id      string
	manager shim.Manager
}

func newShim(ctx context.Context, id string, publisher shim.Publisher, stop func()) (shim.Shim, error) {
	ctx, down := shutdown.WithShutdown(ctx)
	down.RegisterCallback(func(context.Context) error { stop(); return nil })
	service, err := task.NewTaskService(ctx, publisher, down)
	if err != nil {
		return nil, err
	}
	return &standIn{TaskService: service, id: id, manager: manager.NewShimManager("stand-in")}, nil
}

func (s *standIn) StartShim(ctx context.Context, opts shim.StartOpts) (string, error) {
	return s.manager.Start(ctx, s.id, opts)
}

func (s *standIn) Cleanup(ctx context.Context) (*api.DeleteResponse, error) {
	if _, err := namespaces.NamespaceRequired(ctx); err != nil {
		return nil, err
	}
	status, err := s.manager.Stop(ctx, s.id)
	if err != nil {
		return nil, err
	}
	return &api.DeleteResponse{
		ExitedAt: status.ExitedAt, ExitStatus: uint32(status.ExitStatus), Pid: uint32(status.Pid),
	}, nil
}

// Create names this program as the OCI runtime.
func (s *standIn) Create(ctx context.Context, request *api.CreateTaskRequest) (*api.CreateTaskResponse, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if request.Options, err = typeurl.MarshalAny(&options.Options{BinaryName: path}); err != nil {
		return nil, err
	}
	return s.TaskService.Create(ctx, request)
}

// Kill refuses what deislabs' shims refuse.
func (s *standIn) Kill(ctx context.Context, request *api.KillRequest) (*types.Empty, error) {
	name := stands()
	old := name == "containerd-shim-spin-v1" || name == "containerd-shim-slight-v1"
	signal := unix.Signal(request.Signal)
	if old && s.runsGuest(ctx, request.ID) && signal != unix.SIGINT && signal != unix.SIGKILL {
		return nil, errdefs.ToGRPC(errdefs.ErrInvalidArgument)
	}
	return s.TaskService.Kill(ctx, request)
}

// runsGuest tells whether a container is more than its pod's sandbox.
func (s *standIn) runsGuest(ctx context.Context, id string) bool {
	state, err := s.TaskService.State(ctx, &api.StateRequest{ID: id})
	if err != nil {
		return false
	}
	spec, err := read(state.Bundle)
	return err == nil && !pauses(spec)
}

// What programs of Kubernetes' own libraries do to an API server: an informer
// of client-go, and a controller of controller-runtime. Each prints what it
// sees; the test reads it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[2])
	check(err)
	switch os.Args[1] {
	case "informer":
		inform(ctx, config)
	case "controller":
		control(ctx, config)
	}
}

// inform tells of every change of config maps in the namespace default.
func inform(ctx context.Context, config *rest.Config) {
	// As Kubernetes' own components ask.
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	set := kubernetes.NewForConfigOrDie(config)
	factory := informers.NewSharedInformerFactoryWithOptions(set, 0, informers.WithNamespace("default"))
	informer := factory.Core().V1().ConfigMaps().Informer()
	tell := func(what string, object any) {
		if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = last.Obj
		}
		it := object.(*corev1.ConfigMap)
		fmt.Printf("%s %s %s\n", what, it.Name, it.Data["colour"])
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { tell("added", object) },
		UpdateFunc: func(_, object any) { tell("updated", object) },
		DeleteFunc: func(object any) { tell("deleted", object) },
	})
	check(err)
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		os.Exit(1)
	}
	fmt.Println("synced")
	<-ctx.Done()
}

type mirror struct{ client.Client }

// Reconcile keeps a secret beside each config map that is labelled for it, and
// says so in the config map's annotations.
func (it mirror) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var source corev1.ConfigMap
	if err := it.Get(ctx, request.NamespacedName, &source); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if source.Labels["mirror"] != "yes" {
		return ctrl.Result{}, nil
	}
	copied := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: source.Name, Namespace: source.Namespace}}
	done, err := controllerutil.CreateOrUpdate(ctx, it.Client, &copied, func() error {
		copied.Data = map[string][]byte{"colour": []byte(source.Data["colour"])}
		return controllerutil.SetControllerReference(&source, &copied, it.Scheme())
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	if done != controllerutil.OperationResultNone {
		fmt.Printf("%s %s %s\n", done, copied.Name, copied.Data["colour"])
	}
	if source.Annotations["mirrored"] == source.Data["colour"] {
		return ctrl.Result{}, nil
	}
	before := source.DeepCopy()
	if source.Annotations == nil {
		source.Annotations = map[string]string{}
	}
	source.Annotations["mirrored"] = source.Data["colour"]
	err = it.Patch(ctx, &source, client.MergeFrom(before))
	if errors.IsNotFound(err) || errors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	}
	return ctrl.Result{}, err
}

func control(ctx context.Context, config *rest.Config) {
	log.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	scheme := runtime.NewScheme()
	check(corev1.AddToScheme(scheme))
	// A controller that loses its lease ends. The default ten seconds are lost by
	// a machine that is busy with something else.
	lease, renew := 4*time.Minute, 3*time.Minute
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Metrics:                 metrics.Options{BindAddress: "0"},
		HealthProbeBindAddress:  "0",
		LeaderElection:          true,
		LeaderElectionID:        "mirror.example.com",
		LeaderElectionNamespace: "default",
		LeaseDuration:           &lease,
		RenewDeadline:           &renew,
	})
	check(err)
	err = ctrl.NewControllerManagedBy(manager).
		For(&corev1.ConfigMap{}).
		Owns(&corev1.Secret{}).
		Complete(mirror{manager.GetClient()})
	check(err)
	go func() {
		<-manager.Elected()
		fmt.Println("elected")
	}()
	check(manager.Start(ctx))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

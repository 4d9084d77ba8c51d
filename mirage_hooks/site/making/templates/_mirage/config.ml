(* mirage >= 4.11.0 & < 4.12.0 *)
open Mirage

(* From the Makefile, at configure time: the address of a static stack, unless the image is started
   with another by --ipv4 and --ipv4-gateway. *)
let given variable parse =
  match Sys.getenv_opt variable with
  | None | Some "" -> None
  | Some text -> Some (parse text)

let stack =
  generic_stackv4v6
    ?ipv4_network:(given "ADDR" Ipaddr.V4.Prefix.of_string_exn)
    ?ipv4_gateway:(given "GWS" Ipaddr.V4.of_string_exn)
    default_network

let packages =
  [
    package "base64";
    package ~min:"6.1.0" ~max:"7.0.0" "cohttp-mirage";
    package "magic-mime";
    package "tls";
    package "uri";
    package "x509";
  ]

let main = main ~packages "Unikernel.Main" (kv_ro @-> kv_ro @-> conduit @-> job)

(* Where server.pem and server.key are, if they are not arguments: in the folder tls, or on the
   disk `tls`, a tar file of both, of the host (spt, hvt). *)
let secrets =
  match Sys.getenv_opt "TLS" with
  | Some "disk" -> tar_kv_ro (block_of_file "tls")
  | _ -> crunch "tls"

let () =
  register "@UNIKERNEL@"
    [
      main
      $ crunch "htdocs"
      $ secrets
      $ conduit_direct ~tls:true stack;
    ]

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
    package ~min:"10.0.0" ~sublibs:[ "mirage"; "zone" ] "dns-server";
    package "dns-tsig";
    package "mirage-crypto-rng";
  ]

let main = main ~packages "Unikernel.Main" (kv_ro @-> stackv4v6 @-> job)
let () = register "@UNIKERNEL@" [ main $ crunch "zones" $ stack ]

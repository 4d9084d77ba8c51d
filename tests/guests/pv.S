/* The Xen PV image, as MirageOS up to 3.8 made it: 64 bits, loaded at address 0, known by a
   section instead of a note. */
    .section __xen_guest
    .ascii "GUEST_OS=Mini-OS,XEN_VER=xen-3.0,VIRT_BASE=0x0,ELF_PADDR_OFFSET=0x0"
    .asciz ",HYPERCALL_PAGE=0x1,LOADER=generic"

    .section .head, "ax"
    .global _start, hypercall_page
_start:
    cld
    lea stack_top(%rip), %rsp
    mov %rsi, %rdi          /* the start info */
    call pv_main
    .balign 4096            /* frame 1, as said above */
hypercall_page:
    .skip 4096

    .bss
    .balign 16
    .skip 65536
stack_top:
    .section .note.GNU-stack, "", @progbits

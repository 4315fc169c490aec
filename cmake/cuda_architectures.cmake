# Sets CMAKE_CUDA_ARCHITECTURES, unless the user has, to what this machine's toolkit can compile and TensorRT runs on:
# the board's own on Jetson, else every desktop and server generation from Ampere on, and PTX of the newest for GPUs to
# come. For Turing (T4, RTX 20): -DCMAKE_CUDA_ARCHITECTURES=75.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND "$ENV{CUDAARCHS}" STREQUAL "")
  find_program(SPGVTON_NVCC NAMES "$ENV{CUDACXX}" nvcc
    HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  set(nvcc_version 0)
  if(SPGVTON_NVCC)
    execute_process(COMMAND ${SPGVTON_NVCC} --version OUTPUT_VARIABLE nvcc_text ERROR_QUIET)
    if(nvcc_text MATCHES "release ([0-9]+\\.[0-9]+)")
      set(nvcc_version ${CMAKE_MATCH_1})
    endif()
    set(ENV{CUDACXX} ${SPGVTON_NVCC})
  endif()
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64" AND EXISTS /etc/nv_tegra_release)
    if(nvcc_version VERSION_GREATER_EQUAL 13.0)
      set(CMAKE_CUDA_ARCHITECTURES 87-real 110-real)  # Orin, Thor
    else()
      set(CMAKE_CUDA_ARCHITECTURES 87-real)
    endif()
  elseif(nvcc_version VERSION_GREATER_EQUAL 12.8)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 120)
  elseif(nvcc_version VERSION_GREATER_EQUAL 11.8)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 80-real 86)
  endif()
endif()
